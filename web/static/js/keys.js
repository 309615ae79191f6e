// What can be done by the keys: shown by `?`, and by the button at the foot for those who do not know of it.

import { byId, icon, ICONS, make } from "./page/dom.js";
import * as state from "./page/state.js";
import { S } from "./page/strings.js";

// By place, as S.keyPlaces names it: keys, and what S.keysDo says that they do.
const KEYS = {
  anywhere: [["/", "box"], ["?", "keys"]],
  box: [["↓ ↑", "suggestions"], ["Enter", "take"], ["Esc", "closeSuggestions"]],
  grid: [["← → ↑ ↓", "walk"], ["Home End", "ends"], ["Enter", "open"], ["X", "select"]],
  selection: [["Shift+click Shift+X", "range"], ["Esc", "unselect"]],
  viewer: [
    ["← →", "step"], ["+ -", "zoom"], ["0", "whole"], ["← → ↑ ↓", "pan"], ["W", "where"], ["B", "part"], ["Esc", "close"],
  ],
  compare: [["← →", "copies"], ["Esc", "closeCopies"]],
  part: [["← → ↑ ↓", "move"], ["Shift+arrows", "resize"], ["Enter", "search"], ["Esc", "leave"]],
};
const TYPING = 'input:not([type="checkbox"]), select, textarea';

let dialog = null;

function row([keys, what]) {
  const each = keys.split(" ").map((key) => make("kbd", {}, S.keyNames[key] ?? key));
  return make("div", {}, make("dt", {}, ...each), make("dd", {}, S.keysDo[what]));
}

function open() {
  const whole = make(
    "dialog",
    {
      class: "keys",
      "aria-labelledby": "keys-title",
      onclose: () => { whole.remove(); dialog = null; },
      onclick: (event) => { if (event.target === whole) whole.close(); }, // beside it
      onkeydown: (event) => { if (event.key !== "?") event.stopPropagation(); }, // what is behind does not hear of it
    },
    make(
      "div",
      { class: "sheet" },
      make("h2", { id: "keys-title" }, S.keys),
      make("button", { class: "icon", type: "button", "aria-label": S.close, title: S.close, onclick: () => whole.close() }, icon(ICONS.close)),
      ...Object.entries(KEYS).map(([place, rows]) => make("section", {}, make("h3", {}, S.keyPlaces[place]), make("dl", {}, ...rows.map(row)))),
    ),
  );
  dialog = whole;
  document.body.append(whole);
  whole.showModal();
}

export function start() {
  const button = byId("keys");
  button.textContent = S.keys;
  button.addEventListener("click", open);
  state.onChange(() => dialog?.close()); // back leaves what it was opened over
  addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TYPING)) return;
    event.preventDefault();
    if (dialog) dialog.close();
    else open();
  });
}
