// What was understood of the query as more than free words: chips below the box, each a click away from being gone.

import { onAnswer } from "./answered.js";
import * as box from "./box.js";
import { byId, fileName, icon, ICONS, make } from "../page/dom.js";
import { without } from "../page/query.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const list = byId("conditions");

function label({ kind, key, value, negative }) {
  if (kind === "exact") return S.exactly(value);
  if (kind === "excluded") return S.not(value);
  if (key === "after" && negative && value === "0001") return S.withoutDate;
  const shown = key === "folder" ? fileName(value.replace(/[\\/]+$/, "")) : key === "is" ? S.kindOf(value) : key === "orientation" ? S.orientationOf(value) : value;
  const said = S.filters[key](shown);
  return negative ? S.not(said) : said;
}

function draw(answer, asked) {
  const conditions = answer?.conditions ?? [];
  list.hidden = conditions.length === 0;
  list.replaceChildren(...conditions.map((condition) => {
    const text = label(condition);
    const remove = () => {
      box.commit(); // what is in the box and not yet asked stays in it
      state.set({ q: without(state.get().q, asked.q, conditions, (each) => each === condition) });
      byId("q").focus();
    };
    return make(
      "li",
      { class: condition.negative ? "condition not" : "condition", title: condition.value },
      make("span", {}, text),
      make("button", { class: "icon", type: "button", "aria-label": S.remove(text), title: S.remove(text), onclick: remove }, icon(ICONS.close)),
    );
  }));
}

export function start() {
  list.setAttribute("aria-label", S.understood);
  onAnswer(draw);
}
