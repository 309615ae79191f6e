// The grid of hits, as a window on all of them: only the tiles near what is looked at are in the page.

import { SIZE } from "./blocks.js";
import { byId, make } from "./dom.js";
import { Stack } from "./stack.js";
import * as state from "./state.js";
import { Tile } from "./tile.js";

const DRAWN = 1; // windows of tiles above and below what is seen
const ASKED = 3200; // pixels above and below for which hits are asked
const REST = 120; // ms without scrolling
const TOO_FAST_TO_SEE = 5; // pixels a millisecond; thumbnails are asked for once it is slower
const TOO_FAST_TO_ASK = 30; // the same for hits: someone drags the scroll bar
const MARGIN = 14; // pixels between a tile that is scrolled to and the window's edge

const grid = byId("grid");
const header = document.querySelector(".top");
const tiles = new Map(); // by place
const tileOf = new WeakMap(); // by list item
const blanks = new Map(); // by number of block: what stands where its hits are not there yet

export let blocks = null;
export let stack = null;
let current = 0; // the place that was focused or opened last
let origin = 0; // of the grid in the page
let covered = 0; // pixels at the window's top that lie below the box
// What is looked at stays where it is when something above turns out higher or lower than it was thought to be. While the page
// moves, that is made up for here, by moving all blocks, and not by scrolling, which would stop a finger's throw.
let drift = 0;
let resting = null; // the timer that runs while the page moves
let trail = []; // [time, scrollY] of the last 150 ms

const windowTop = () => scrollY - origin - drift; // in the stack's pixels

function shape() {
  const style = getComputedStyle(grid);
  const length = (name) => parseFloat(style.getPropertyValue(name));
  return { width: Math.floor(grid.getBoundingClientRect().width), height: length("--row"), gap: length("--gap") };
}

// at: { place, offset } as where() gave it, or null for the top.
export function show(next, at) {
  const focused = focusedTile()?.hit.id;
  const spare = new Map([...tiles.values()].map((tile) => [tile.hit.id, tile]));
  const before = [...grid.children];
  tiles.clear();
  blanks.clear();
  grid.classList.remove("stale");
  blocks = next;
  current = 0;
  drift = 0;
  origin = grid.offsetTop;
  covered = header.offsetHeight;
  stack = new Stack(blocks, shape());
  for (const number of [...blocks.kept.keys()]) stack.learn(number);
  grid.style.height = `${stack.height}px`;
  if (at) current = Math.min(at.place, Math.max(0, blocks.total - 1));
  goTo(at ? origin + stack.spot(current).top - at.offset : Math.min(scrollY, origin / 2));
  draw(spare);
  for (const element of before) element.remove();
  for (const tile of spare.values()) tile.remove();
  const again = focused && tiles.get(blocks.placeOf(focused));
  if (again) again.link.focus({ preventScroll: true });
}

export function clear() {
  for (const tile of tiles.values()) tile.remove();
  tiles.clear();
  blanks.clear();
  grid.replaceChildren();
  grid.style.height = "0";
  grid.classList.remove("stale");
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
  const place = seen(stack.spot(current)) ? current : stack.placeAt(top + covered);
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
  state.keepPlace();
}

// All that is to be in the page, and nothing else. spare: tiles of the answer before, by photo.
function draw(spare = null) {
  const top = windowTop();
  const bottom = top + innerHeight;
  const from = top - DRAWN * innerHeight;
  const to = bottom + DRAWN * innerHeight;
  const fast = speed();
  const focused = focusedTile();
  const places = [];
  const empty = new Set();
  for (let number = stack.at(from); number <= stack.at(to) && number < stack.count; number++) {
    if (!blocks.hits(number)) empty.add(number);
    if (!stack.exact(number)) continue;
    for (const row of stack.layout(number).rows) {
      const y = stack.tops[number] + row.top;
      if (y > to || y + row.height < from) continue;
      for (let i = row.from; i < row.to; i++) places.push(number * SIZE + i);
    }
  }
  // Whoever goes on by the keyboard after scrolling goes on from there.
  if (focused && !places.includes(focused.place)) places.push(focused.place);
  places.sort((one, other) => one - other);
  const near = new Set(places);
  for (const [place, tile] of tiles) {
    if (near.has(place) && (blocks.hit(place) ?? tile.hit).id === tile.hit.id) continue;
    tiles.delete(place);
    tile.remove();
  }
  for (const [number, blank] of blanks) {
    if (empty.has(number)) continue;
    blanks.delete(number);
    blank.remove();
  }
  for (const number of empty) blanks.has(number) || blanks.set(number, grid.insertBefore(make("li", { class: "blank", "aria-hidden": "true" }), grid.firstChild));
  for (const [number, blank] of blanks) {
    blank.style.top = `${stack.tops[number] + drift}px`;
    blank.style.height = `${Math.max(0, stack.heights[number] - stack.shape.gap)}px`;
  }
  let next = tiles.size ? tiles.get(Math.min(...tiles.keys())).element : null;
  for (const place of places) {
    let tile = tiles.get(place);
    if (tile) next = tile.element.nextSibling;
    else {
      const hit = blocks.hit(place);
      if (!hit) continue;
      tile = new Tile(hit, place, spare?.get(hit.id));
      spare?.delete(hit.id);
      tile.number(blocks.total);
      tiles.set(place, tile);
      tileOf.set(tile.element, tile);
      grid.insertBefore(tile.element, next);
    }
    const number = Math.floor(place / SIZE);
    const { boxes, rows } = stack.layout(number);
    const box = boxes[place - number * SIZE];
    if (box) tile.arrange(box, stack.tops[number] + drift + rows[box.row].top, rows[box.row].height);
  }
  grid.style.height = `${Math.max(0, stack.height + drift)}px`;
  leadTab(focused, top);
  if (fast < TOO_FAST_TO_SEE) startThumbnails(top + drift, bottom + drift);
  ask(top, bottom, fast);
}

function startThumbnails(top, bottom) {
  const waiting = [...tiles.values()].filter((tile) => !tile.started);
  const seen = (tile) => tile.top + tile.height > top && tile.top < bottom;
  for (const tile of waiting) if (seen(tile)) tile.start(true);
  for (const tile of waiting) if (!seen(tile)) tile.start(false);
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

// The Tab key enters the grid at one tile: where the focus is, else at the first that is wholly seen.
function leadTab(focused, top) {
  const line = top + drift + covered;
  const seen = focused ?? [...tiles.values()].sort((one, other) => one.place - other.place).find((tile) => tile.top >= line - 1);
  const leader = seen ?? tiles.values().next().value;
  for (const link of grid.querySelectorAll('.tile[tabindex="0"]')) if (link !== leader?.link) link.tabIndex = -1;
  if (leader && leader.link.tabIndex !== 0) leader.link.tabIndex = 0;
}

export function focusedTile() {
  const tile = tileOf.get(document.activeElement?.closest("li"));
  return tile && tiles.get(tile.place) === tile ? tile : undefined;
}

// Scrolls so far that the photo is seen, if it is not.
export function reveal(place) {
  if (!stack) return;
  current = place;
  const { top, height } = stack.spot(place);
  const y = origin + drift + top;
  const [above, below] = [y - covered - MARGIN, y + height + MARGIN - innerHeight];
  if (scrollY <= above && scrollY >= below) return;
  // The next row comes into view; from afar, the photo stands in the middle.
  if (above < scrollY && scrollY - above < innerHeight) goTo(above);
  else if (below > scrollY && below - scrollY < innerHeight) goTo(below);
  else goTo((above + below) / 2);
  draw();
}

export function focusPlace(place) {
  reveal(place);
  tiles.get(place)?.link.focus({ preventScroll: true });
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
  tiles.get(blocks?.placeOf(hit.id))?.retitle(hit);
}

// Another width, or another number of hits: all is laid out anew, and what is at the top stays there.
export function relayout() {
  if (!stack) return;
  const top = windowTop();
  const place = stack.placeAt(top + covered);
  const offset = stack.spot(place).top - top;
  const atStart = top <= 0;
  origin = grid.offsetTop;
  covered = header.offsetHeight;
  drift = 0;
  stack.reshape(shape());
  grid.style.height = `${stack.height}px`;
  if (!atStart) goTo(origin + stack.spot(place).top - offset);
  for (const tile of tiles.values()) tile.number(blocks.total);
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
  grid.addEventListener("load", (event) => tileOf.get(event.target.closest("li"))?.came(), true);
  grid.addEventListener("error", (event) => tileOf.get(event.target.closest("li"))?.failed(), true);
  grid.addEventListener("focusin", (event) => {
    const tile = tileOf.get(event.target.closest("li"));
    if (!tile) return;
    current = tile.place;
    leadTab(tile, windowTop());
  });
  grid.addEventListener("click", (event) => {
    const tile = tileOf.get(event.target.closest("li"));
    if (!tile || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    current = tile.place;
    state.set({ photo: tile.hit.id });
  });
}
