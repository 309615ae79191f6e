// Copying a text: a button that does, and says that it has.

import { icon, ICONS, make } from "./dom.js";
import { S } from "./strings.js";

const SAID = 1600; // ms
const said = make("p", { class: "unseen", role: "status" });
document.body.append(said);

async function copy(text) {
  // Browsers give the clipboard to pages of this machine and of https alone.
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = make("textarea", { class: "unseen", readonly: true });
  field.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  const before = document.activeElement;
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  before?.focus();
  if (!done) throw new Error(S.notCopied);
}

// words: what stands on the button; without them it shows an icon alone, and `label` says what it is.
export function copyButton(textOf, label, words = null) {
  const face = words ? make("span", {}, words) : null;
  const button = make("button", { class: words ? "button copy" : "icon copy", type: "button", "aria-label": words ? null : label, title: label }, icon(ICONS.copy), face);
  let timer = null;
  button.addEventListener("click", async () => {
    const mark = (path, text) => {
      button.firstChild.replaceWith(icon(path));
      button.title = text || label;
      if (face) face.textContent = text || words;
      said.textContent = text;
    };
    try {
      await copy(textOf());
      mark(ICONS.check, S.copied);
    } catch {
      mark(ICONS.close, S.notCopied);
    }
    clearTimeout(timer);
    timer = setTimeout(() => mark(ICONS.copy, ""), SAID);
  });
  return button;
}
