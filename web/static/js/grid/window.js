// The tiles that are in the page: those near what is looked at, in the order of the hits, and no others.

import { SIZE } from "./blocks.js";
import { byId, make } from "../page/dom.js";
import { Tile } from "./tile.js";

const DRAWN = 1; // windows of tiles above and below what is seen

const grid = byId("grid");
const tileOf = new WeakMap(); // by list item
let tiles = new Map(); // by place
let blanks = new Map(); // by number of block: what stands where its hits are not there yet
let spare = new Map(); // by photo: tiles of the answer before

export const tileAt = (place) => tiles.get(place);
export const all = () => tiles.values();

// The tile that an element of it belongs to.
export function tileAround(element) {
  const tile = tileOf.get(element?.closest("li"));
  return tile && tiles.get(tile.place) === tile ? tile : undefined;
}

export const focusedTile = () => tileAround(document.activeElement);

// Makes room for another answer, whose tiles `fill` draws: the thumbnails of photos that are in both stay.
export function replace(fill) {
  const focused = focusedTile()?.hit.id;
  const before = [...grid.children];
  spare = new Map([...all()].map((tile) => [tile.hit.id, tile]));
  tiles = new Map();
  blanks = new Map();
  fill();
  for (const element of before) element.remove();
  for (const tile of spare.values()) tile.remove();
  spare.clear();
  return focused;
}

// What is to be in the page. view: { blocks, stack, drift, top, bottom (in the stack's pixels), covered }.
export function draw(view) {
  const { blocks, stack, drift } = view;
  const focused = focusedTile();
  const { places, empty } = near(view);
  // Whoever goes on by the keyboard after scrolling goes on from there.
  if (focused && !places.includes(focused.place)) places.push(focused.place);
  places.sort((one, other) => one - other);
  clearAway(new Set(places), empty, blocks);
  for (const number of empty) {
    if (!blanks.has(number)) blanks.set(number, grid.insertBefore(make("li", { class: "blank", "aria-hidden": "true" }), grid.firstChild));
    const { style } = blanks.get(number);
    style.top = `${stack.tops[number] + drift}px`;
    style.height = `${Math.max(0, stack.heights[number] - stack.shape.gap)}px`;
  }
  let next = tiles.size ? tiles.get(Math.min(...tiles.keys())).element : null;
  for (const place of places) {
    const tile = tiles.get(place) ?? insert(place, next, blocks);
    if (!tile) continue;
    next = tile.element.nextSibling;
    const number = Math.floor(place / SIZE);
    const { boxes, rows } = stack.layout(number);
    const box = boxes[place - number * SIZE];
    if (box) tile.arrange(box, stack.tops[number] + drift + rows[box.row].top, rows[box.row].height);
  }
  grid.style.height = `${Math.max(0, stack.height + drift)}px`;
  leadTab(focused, view.top + drift + view.covered);
}

function near({ blocks, stack, top, bottom }) {
  const from = top - DRAWN * (bottom - top);
  const to = bottom + DRAWN * (bottom - top);
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
  return { places, empty };
}

function clearAway(stay, empty, blocks) {
  for (const [place, tile] of tiles) {
    // Of a block that is being asked for anew, what was there stays until it comes.
    if (stay.has(place) && (blocks.hit(place) ?? tile.hit).id === tile.hit.id) continue;
    tiles.delete(place);
    tile.remove();
  }
  for (const [number, blank] of blanks) {
    if (empty.has(number)) continue;
    blanks.delete(number);
    blank.remove();
  }
}

function insert(place, next, blocks) {
  const hit = blocks.hit(place);
  if (!hit) return null;
  const tile = new Tile(hit, place, spare.get(hit.id));
  spare.delete(hit.id);
  tile.number(blocks.total);
  tiles.set(place, tile);
  tileOf.set(tile.element, tile);
  grid.insertBefore(tile.element, next);
  return tile;
}

// Asks for the thumbnails that were not asked for yet: those that are seen, between these pixels of the grid, first.
export function startThumbnails(top, bottom) {
  const waiting = [...all()].filter((tile) => !tile.started);
  const seen = (tile) => tile.top + tile.height > top && tile.top < bottom;
  for (const tile of waiting) if (seen(tile)) tile.start(true);
  for (const tile of waiting) if (!seen(tile)) tile.start(false);
}

// The Tab key enters the grid at one tile: where the focus is, else at the first that lies wholly below `line`.
export function leadTab(focused, line) {
  const seen = focused ?? [...all()].sort((one, other) => one.place - other.place).find((tile) => tile.top >= line - 1);
  const leader = seen ?? all().next().value;
  for (const link of grid.querySelectorAll('.tile[tabindex="0"]')) if (link !== leader?.link) link.tabIndex = -1;
  if (leader && leader.link.tabIndex !== 0) leader.link.tabIndex = 0;
}
