// The keyboard in the grid: one tile is reached by Tab, the arrows go on from there, beyond what is loaded.

import { SIZE } from "./blocks.js";
import * as grid from "./grid.js";
import { focusedTile } from "./window.js";

const KEYS = {
  ArrowLeft: (place) => grid.blocks.beside(place, -1),
  ArrowRight: (place) => grid.blocks.beside(place, 1),
  ArrowUp: (place) => across(place, -1),
  ArrowDown: (place) => across(place, 1),
  Home: () => edge(0, 1),
  End: () => edge(grid.reach() - 1, -1),
};

let under = null; // across which line one goes up and down, in pixels from the grid's left edge
let busy = false;

const middle = ({ left, width }) => left + width / 2;

function boxOf(place) {
  const number = Math.floor(place / SIZE);
  const layout = grid.stack.layout(number);
  return { number, layout, box: layout.boxes[place - number * SIZE] };
}

// The photo that lies straight above (-1) or below (1).
async function across(place, by) {
  const { number, layout, box } = boxOf(place);
  under ??= middle(box);
  let [row, other] = [box.row + by, number];
  if (!layout.rows[row]) {
    const beyond = await grid.blocks.beside(number * SIZE + (by > 0 ? layout.boxes.length - 1 : 0), by);
    if (beyond < 0) return -1;
    ({ number: other, box: { row } } = boxOf(beyond));
  }
  const { rows, boxes } = grid.stack.layout(other);
  let nearest = rows[row].from;
  for (let i = nearest; i < rows[row].to; i++) {
    if (Math.abs(middle(boxes[i]) - under) < Math.abs(middle(boxes[nearest]) - under)) nearest = i;
  }
  return other * SIZE + nearest;
}

// The first or the last photo: what is there of it is shown before it has come.
async function edge(place, by) {
  grid.reveal(place);
  const number = Math.floor(place / SIZE);
  const hits = await grid.blocks.load(number);
  if (hits?.length) return by > 0 ? number * SIZE : number * SIZE + hits.length - 1;
  return grid.blocks.beside(place, by);
}

export function start(element) {
  element.addEventListener("keydown", async (event) => {
    const tile = focusedTile();
    const way = KEYS[event.key];
    if (!tile || !way || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    event.preventDefault(); // the page scrolls with the focus
    if (busy) return;
    busy = true;
    const upright = event.key === "ArrowUp" || event.key === "ArrowDown";
    if (!upright) under = null;
    try {
      const { blocks } = grid;
      const place = await way(tile.place);
      if (place >= 0 && grid.blocks === blocks && focusedTile() === tile) grid.focusPlace(place);
    } catch {
      // The page has said that the server does not answer, and goes on by itself.
    } finally {
      busy = false;
    }
  });
  element.addEventListener("pointerdown", () => { under = null; });
}
