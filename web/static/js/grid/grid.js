// The grid of hits, as a window on all of them: only the tiles near what is looked at are in the page.

import { SIZE } from "./blocks.js";
import { byId } from "../page/dom.js";
import { Stack } from "./stack.js";
import * as state from "../page/state.js";
import * as drawn from "./window.js";

const ASKED = 3200; // pixels above and below for which hits are asked
const REST = 120; // ms without scrolling
const KEEP = 400; // ms without scrolling before the place is kept: browsers refuse to write the history all the time
const TOO_FAST_TO_SEE = 5; // pixels a millisecond; thumbnails are asked for once it is slower
const TOO_FAST_TO_ASK = 30; // the same for hits: someone drags the scroll bar
const SLIVER = 6; // pixels of a row that do not make it the one that is looked at
const MARGIN = 14; // pixels between a tile that is scrolled to and the window's edge

const grid = byId("grid");
const header = document.querySelector(".top");

export let blocks = null;
export let stack = null;
let current = 0; // the place that was focused or opened last
let origin = 0; // of the grid in the page
let covered = 0; // pixels at the window's top that lie below the box
// What is looked at stays where it is when something above turns out higher or lower than it was thought to be. While the page
// moves, that is made up for here, by moving all blocks, and not by scrolling, which would stop a finger's throw.
let drift = 0;
let resting = null; // the timer that runs while the page moves
let veiled = 0; // pixels at its bottom that lie below a bar
let keeping = null;
let trail = []; // [time, scrollY] of the last 150 ms

const windowTop = () => scrollY - origin - drift; // in the stack's pixels

function shape() {
  const style = getComputedStyle(grid);
  const length = (name) => parseFloat(style.getPropertyValue(name));
  return { width: Math.floor(grid.getBoundingClientRect().width), height: length("--row"), gap: length("--gap") };
}

// at: { place, offset } as where() gave it, or null for the top.
export function show(next, at) {
  const focused = drawn.replace(() => {
    unmarkStale();
    blocks = next;
    drift = 0;
    origin = grid.offsetTop;
    covered = header.offsetHeight;
    stack = new Stack(blocks, shape());
    for (const number of [...blocks.kept.keys()]) stack.learn(number);
    current = at ? Math.min(at.place, Math.max(0, blocks.total - 1)) : 0;
    grid.style.height = `${stack.height}px`;
    goTo(at ? origin + stack.spot(current).top - at.offset : Math.min(scrollY, origin / 2));
    draw();
  });
  if (focused) drawn.tileAt(blocks.placeOf(focused))?.link.focus({ preventScroll: true });
}

export function clear() {
  drawn.replace(unmarkStale);
  grid.style.height = "0";
  blocks = stack = null;
}

// The old answer stays, faintly, until the new one is there: an empty flash between two answers tires the eye.
export const markStale = () => grid.classList.add("stale");
export const unmarkStale = () => grid.classList.remove("stale");

// Where one is: a photo, and how far below the window's top its row begins. undefined: nowhere that is to be kept.
export function where() {
  if (!stack || grid.classList.contains("stale")) return undefined;
  if (!blocks.total) return null;
  const top = windowTop();
  const seen = ({ top: from, height }) => from >= top + covered - height && from <= top + innerHeight - height / 2;
  const place = seen(stack.spot(current)) ? current : stack.placeAt(top + covered + SLIVER);
  return scrollY <= 0 && place === 0 ? null : { place, offset: Math.round(stack.spot(place).top - top) };
}

function goTo(y) {
  scrollTo({ top: Math.round(y), behavior: "instant" });
  trail = [];
}

// How much of what the block grows by lies above what is looked at, which is to stay where it is.
function partAbove(number) {
  const top = windowTop();
  const bottom = top + innerHeight;
  if (top <= 0) return 0;
  const first = stack.at(top);
  const last = stack.at(bottom);
  if (number < first || number > last) return number < first ? 1 : 0;
  for (let other = first; other <= last; other++) {
    if (other !== number && stack.exact(other)) return number < other ? 1 : 0;
  }
  if (bottom >= stack.height) return 1; // the end is in view
  return number > first ? 0 : (top - stack.tops[first]) / Math.max(1, stack.heights[first]);
}

export function came(number) {
  if (!stack) return;
  const part = partAbove(number);
  drift -= Math.round(part * stack.learn(number));
  settle();
  draw();
}

// The drift is made up for by scrolling, once that disturbs nobody, or before the gap above the first photo is seen.
function settle() {
  if (!drift || (resting && windowTop() > 0)) return;
  const y = scrollY - drift;
  drift = 0;
  grid.style.height = `${stack.height}px`;
  goTo(y);
}

// Of the last moments, in pixels a millisecond: a single jump is not fast, a drag of the scroll bar is.
function speed() {
  const now = performance.now();
  trail = trail.filter(([time]) => now - time < 150);
  return trail.length ? Math.abs(scrollY - trail[0][1]) / 150 : 0;
}

function scrolled() {
  if (!stack) return;
  clearTimeout(resting);
  resting = setTimeout(rest, REST);
  clearTimeout(keeping);
  keeping = setTimeout(state.keepPlace, KEEP);
  trail.push([performance.now(), scrollY]);
  settle();
  draw();
}

function rest() {
  resting = null;
  if (!stack) return;
  trail = [];
  settle();
  draw();
}

function draw() {
  const top = windowTop();
  const bottom = top + innerHeight;
  const fast = speed();
  const seen = top + drift;
  drawn.draw({ blocks, stack, drift, top, bottom, covered });
  if (fast < TOO_FAST_TO_SEE) drawn.startThumbnails(seen, seen + bottom - top);
  ask(top, bottom, fast);
}

function ask(top, bottom, fast) {
  if (fast > TOO_FAST_TO_ASK) return blocks.want([]);
  const first = stack.at(top);
  const last = stack.at(bottom);
  const [lowest, highest] = [stack.at(top - ASKED), stack.at(bottom + ASKED)];
  const numbers = [];
  for (let number = first; number <= last; number++) numbers.push(number);
  for (let by = 1; last + by <= highest || first - by >= lowest; by++) {
    if (last + by <= highest) numbers.push(last + by);
    if (first - by >= lowest) numbers.push(first - by);
  }
  blocks.want(numbers.filter((number) => number < stack.count));
}

// Scrolls so far that the photo is seen, if it is not.
export function reveal(place) {
  if (!stack) return;
  current = place;
  const { top, height } = stack.spot(place);
  const y = origin + drift + top;
  const [above, below] = [y - covered - MARGIN, y + height + MARGIN + veiled - innerHeight];
  if (scrollY <= above && scrollY >= below) return;
  // The next row comes into view; from afar, the photo stands in the middle.
  if (above < scrollY && scrollY - above < innerHeight) goTo(above);
  else if (below > scrollY && below - scrollY < innerHeight) goTo(below);
  else goTo((above + below) / 2);
  draw();
}

export function veil(pixels) { veiled = pixels; }

export function focusPlace(place) {
  reveal(place);
  drawn.tileAt(place)?.link.focus({ preventScroll: true });
}

// The photo that the viewer shows, or has shown.
export function follow(id) {
  const place = blocks?.placeOf(id) ?? -1;
  if (place >= 0) reveal(place);
}

export function focusTile(id) {
  const place = blocks?.placeOf(id) ?? -1;
  if (place >= 0) focusPlace(place);
}

// How many photos can be scrolled to.
export const reach = () => Math.min(blocks?.total ?? 0, (stack?.count ?? 0) * SIZE);

// After its caption was edited.
export function retitle(hit) {
  drawn.tileAt(blocks?.placeOf(hit.id))?.retitle(hit);
}

// Another width, or another number of hits: all is laid out anew, and what is at the top stays there.
export function relayout() {
  if (!stack) return;
  const top = windowTop();
  const place = stack.placeAt(top + covered + SLIVER);
  const offset = stack.spot(place).top - top;
  const atStart = top <= 0;
  origin = grid.offsetTop;
  covered = header.offsetHeight;
  drift = 0;
  stack.reshape(shape());
  grid.style.height = `${stack.height}px`;
  if (!atStart) goTo(origin + stack.spot(place).top - offset);
  for (const tile of drawn.all()) tile.number(blocks.total);
  draw();
}

export function start() {
  history.scrollRestoration = "manual"; // the browser would scroll before there is anything to scroll to
  state.placeBy(where);
  addEventListener("scroll", scrolled, { passive: true });
  addEventListener("pagehide", state.keepPlace);
  addEventListener("resize", () => stack && draw());
  // Not the grid itself: what this does changes its height.
  const around = new ResizeObserver(() => {
    if (!stack) return;
    covered = header.offsetHeight;
    if (Math.floor(grid.getBoundingClientRect().width) !== stack.shape.width) return relayout();
    // A notice has come or gone above the grid.
    const moved = grid.offsetTop - origin;
    origin += moved;
    if (moved && windowTop() + moved > 0) goTo(scrollY + moved);
  });
  for (const element of [header, ...grid.parentElement.children]) if (element !== grid) around.observe(element);
  grid.addEventListener("load", (event) => drawn.tileAround(event.target)?.came(), true);
  grid.addEventListener("error", (event) => drawn.tileAround(event.target)?.failed(), true);
  grid.addEventListener("focusin", (event) => {
    const tile = drawn.tileAround(event.target);
    if (!tile) return;
    current = tile.place;
    drawn.leadTab(tile, 0);
  });
  grid.addEventListener("click", (event) => {
    const tile = drawn.tileAround(event.target);
    if (!tile || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    current = tile.place;
    state.set({ photo: tile.hit.id });
  });
}
