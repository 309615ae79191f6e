// The box: what is typed becomes the query after a moment, without Enter.

import { onAnswer } from "./answered.js";
import { byId } from "../page/dom.js";
import * as recent from "./recent.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const TYPING_PAUSE = 160; // ms; below it every key would be a search, above it the page feels late
const SETTLED = 3000; // ms for which a search stands before it is remembered as one
const box = byId("q");
const clear = byId("clear");

let timer = null;
let settling = null;
let typing = false; // the present history entry was made by typing, and further typing refines it

export function commit({ done = false } = {}) {
  clearTimeout(timer);
  timer = null;
  if (box.value !== state.get().q) {
    state.set({ q: box.value, all: "" }, { replace: typing });
    typing = true;
  }
  if (done) typing = false;
}

// Something else changed what is searched, or one went back: typing from here on is a step of its own.
export function leave({ back }) {
  if (back || document.activeElement !== box) typing = false;
}

export function put(text, caret = text.length) {
  box.value = text;
  box.setSelectionRange(caret, caret);
  commit();
}

export function draw(now) {
  // Never while someone types: the state is then behind the box, not ahead of it.
  if (timer === null && box.value !== now.q) box.value = now.q;
  clear.hidden = !box.value;
}

export function start() {
  box.placeholder = S.placeholder;
  box.setAttribute("aria-label", S.boxLabel);
  clear.title = S.clearText;
  clear.setAttribute("aria-label", S.clearText);
  const typed = (event) => {
    clear.hidden = !box.value;
    clearTimeout(timer);
    // What an input method is still composing is no words yet.
    if (!event.isComposing) timer = setTimeout(commit, TYPING_PAUSE);
  };
  box.addEventListener("input", typed);
  box.addEventListener("compositionend", typed);
  box.addEventListener("blur", () => commit({ done: true }));
  if (box.value && !state.get().q) typed({}); // before the page listened
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    commit({ done: true });
    if (box.value) recent.add(box.value);
  });
  clear.addEventListener("click", () => {
    put("");
    clear.hidden = true;
    box.focus();
  });
  onAnswer((answer, asked) => {
    clearTimeout(settling);
    if (answer?.total && asked.q.trim()) settling = setTimeout(() => recent.add(asked.q), SETTLED);
  });
}
