// The list below the box: filters that the word at the caret could become; in an empty box the searches made before.

import * as api from "../page/api.js";
import * as box from "./box.js";
import { byId, icon, ICONS, make } from "../page/dom.js";
import * as recent from "./recent.js";
import { S } from "../page/strings.js";

const PAUSE = 90; // ms
const MOST = 6; // what is found shows below
const RECENT = 2; // of them
const field = byId("q");
const list = byId("suggest");

let options = []; // { text, label, detail, count, pick }
let chosen = -1;
let timer = null;
let running = null;

function close() {
  clearTimeout(timer);
  running?.abort();
  options = [];
  chosen = -1;
  list.hidden = true;
  field.setAttribute("aria-expanded", "false");
  field.removeAttribute("aria-activedescendant");
}

function mark(place) {
  chosen = place;
  [...list.children].forEach((item, at) => {
    item.setAttribute("aria-selected", String(at === place));
    if (at === place) item.scrollIntoView({ block: "nearest" });
  });
  if (place < 0) field.removeAttribute("aria-activedescendant");
  else field.setAttribute("aria-activedescendant", `suggest-${place}`);
}

function show(found) {
  if (!found.length || document.activeElement !== field) return close();
  options = found;
  list.replaceChildren(...found.map(({ kind, label, detail, count, path, pick }, place) => make(
    "li",
    // A press must not take the focus out of the box.
    { id: `suggest-${place}`, role: "option", "aria-selected": "false", onpointerdown: (event) => event.preventDefault(), onclick: pick },
    path ? icon(path) : make("span", { class: "kind" }, kind),
    make("span", { class: "label" }, label),
    make("span", { class: "detail" }, detail ?? ""),
    make("span", { class: "number" }, count ?? ""),
  )));
  list.hidden = false;
  field.setAttribute("aria-expanded", "true");
  mark(-1);
}

const again = (q) => ({ label: q, path: ICONS.clock, pick: () => { close(); box.put(q); box.commit({ done: true }); } });

function offerRecent() {
  const searches = recent.all().map(again);
  if (searches.length) searches.push({ label: S.forgetRecent, path: ICONS.close, pick: () => { recent.clear(); close(); } });
  show(searches);
}

async function offer() {
  running?.abort();
  const caret = field.selectionStart;
  const typed = field.value.slice(0, caret);
  if (!field.value) return close();
  const controller = (running = new AbortController());
  try {
    const { start, suggestions } = await api.suggest(typed, MOST, controller.signal);
    if (controller.signal.aborted) return;
    const begun = recent.all().filter((q) => q !== field.value && q.toLowerCase().startsWith(field.value.toLowerCase()));
    show([...begun.slice(0, RECENT).map(again), ...suggestions.map((each) => ({
      kind: S.kinds[each.kind] ?? each.kind,
      label: each.label,
      detail: each.detail,
      count: each.photos === null ? "" : S.number(each.photos),
      pick: () => take(typed, start, each),
    }))].slice(0, MOST));
  } catch (error) {
    if (error.name !== "AbortError") close(); // whatever is wrong, the search itself says it
  }
}

function take(typed, start, { kind, text }) {
  const before = Array.from(typed).slice(0, start).join("");
  const after = field.value.slice(typed.length).replace(/^\S+/, "");
  const ended = kind === "key" ? text : `${text} `;
  close();
  box.put(`${before}${ended}${after.replace(/^\s+/, "")}`, before.length + ended.length);
  if (kind === "key") offer(); // now its values
}

export function start() {
  list.setAttribute("aria-label", S.suggestionsLabel);
  const typed = (event) => {
    clearTimeout(timer);
    if (!event.isComposing) timer = setTimeout(offer, PAUSE);
  };
  field.addEventListener("input", typed);
  field.addEventListener("compositionend", typed);
  // By the mouse alone: the page itself puts the caret there at first, where a list would only be in the way.
  field.addEventListener("click", () => { if (!field.value && list.hidden) offerRecent(); });
  field.addEventListener("blur", close);
  // At another place of the text other words could be completed.
  field.addEventListener("keyup", (event) => { if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) close(); });
  byId("ask").addEventListener("submit", close);
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" && list.hidden) {
      event.preventDefault();
      if (field.value) offer();
      else offerRecent();
    } else if (event.key === "Escape") {
      if (!list.hidden) event.preventDefault();
      close(); // what is under way, too
    } else if (list.hidden) return;
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      // One place, -1, is the box itself.
      mark(((chosen + 1 + step + options.length + 1) % (options.length + 1)) - 1);
    } else if (event.key === "Enter" && chosen >= 0) {
      event.preventDefault();
      options[chosen].pick();
    }
  });
}
