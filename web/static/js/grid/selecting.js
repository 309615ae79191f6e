// Selecting photos in the grid: by the mark in a tile's corner, the key x, clicks with Ctrl or Shift, a long press.

import { SIZE } from "./blocks.js";
import { byId } from "../page/dom.js";
import * as grid from "./grid.js";
import { say } from "./results.js";
import * as selection from "./selection.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";
import { all, focusedTile, tileAround } from "./window.js";

const LONG = 450; // ms of a long press
const STILL = 10; // pixels that a finger may move meanwhile

const element = byId("grid");

function toggle(tile) {
  if (!selection.toggle(tile.hit)) say(S.tooManySelected(selection.MOST));
}

// All from the photo that was selected last to this one, also those that were scrolled past without being seen.
async function reach(tile) {
  const { blocks } = grid;
  const begin = blocks.placeOf(selection.ids().at(-1));
  if (begin < 0) return toggle(tile);
  const [first, last] = [Math.min(begin, tile.place), Math.max(begin, tile.place)];
  if (last - first >= selection.MOST) return say(S.tooManySelected(selection.MOST));
  try {
    const hits = [];
    for (let number = Math.floor(first / SIZE); number <= Math.floor(last / SIZE); number++) {
      const block = (await blocks.load(number)) ?? [];
      hits.push(...block.filter((_, i) => number * SIZE + i >= first && number * SIZE + i <= last));
    }
    if (grid.blocks !== blocks) return undefined;
    if (!selection.add(hits)) say(S.tooManySelected(selection.MOST));
  } catch {
    // The page has said that the server does not answer.
  }
  return undefined;
}

function clicks() {
  // Before the grid opens the photo.
  element.addEventListener("click", (event) => {
    const tile = tileAround(event.target);
    if (!tile || event.button !== 0) return;
    const check = event.target.closest(".check");
    const byKey = event.detail === 0 && !check; // Enter opens the photo all the same
    if (!check && !event.ctrlKey && !event.metaKey && !event.shiftKey && (byKey || !selection.size())) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.shiftKey) reach(tile);
    else toggle(tile);
  }, true);
}

function presses() {
  let timer = null;
  let at = null;
  let held = false; // the press was long: the click that ends it is none
  const stop = () => clearTimeout(timer);
  element.addEventListener("pointerdown", (event) => {
    stop();
    held = false;
    const tile = tileAround(event.target);
    if (event.pointerType !== "touch" || !tile) return;
    at = { x: event.clientX, y: event.clientY };
    timer = setTimeout(() => {
      held = true;
      toggle(tile);
    }, LONG);
  });
  element.addEventListener("pointermove", (event) => {
    if (at && Math.hypot(event.clientX - at.x, event.clientY - at.y) > STILL) stop();
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, stop);
  element.addEventListener("contextmenu", (event) => {
    if (event.pointerType !== "touch") return;
    event.preventDefault();
    if (held) return;
    stop(); // the system's own long press is shorter than this one
    const tile = tileAround(event.target);
    if (tile) toggle(tile);
    held = true;
  });
  element.addEventListener("click", (event) => {
    if (!held) return;
    held = false;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
}

function keys() {
  element.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "x" || event.ctrlKey || event.metaKey || event.altKey) return;
    const tile = focusedTile();
    if (!tile) return;
    event.preventDefault();
    if (event.shiftKey) reach(tile);
    else toggle(tile);
  });
  addEventListener("keydown", (event) => {
    const elsewhere = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || document.querySelector("dialog[open]");
    if (event.key === "Escape" && !event.defaultPrevented && !elsewhere) selection.clear();
  });
}

export function start() {
  presses(); // whose click is to be swallowed before it counts
  clicks();
  keys();
  selection.onChange(() => {
    element.classList.toggle("selecting", selection.size() > 0);
    for (const tile of all()) tile.mark();
  });
  // What fits less comes behind the rest, which stays selected.
  state.onChange((now, before) => {
    if (now.view !== before.view || !state.sameSearch({ ...now, all: "" }, { ...before, all: "" })) selection.clear();
  });
}
