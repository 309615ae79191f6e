// What to type where there is nothing to look at yet.

import { copyButton } from "../page/copy.js";
import { make } from "../page/dom.js";
import { S } from "../page/strings.js";

// Elements: what is the matter, what to do, and the command with a button that copies it.
export const howToIndex = (matter, hint) => [
  make("p", {}, make("strong", {}, matter)),
  make("p", {}, hint),
  make("p", { class: "command" }, make("code", {}, S.noIndexCommand), copyButton(() => S.noIndexCommand, S.copyIndexCommand)),
];
