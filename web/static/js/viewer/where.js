// Where in a photo the words of the search were seen: a map from the server, laid over the photo.

import * as api from "../page/api.js";
import { icon, ICONS, make } from "../page/dom.js";
import { S } from "../page/strings.js";

// Dark and veiled where nothing is, warm and clear where the most is: brightness alone tells it too.
const RAMP = [[10, 10, 30, 0.68], [60, 20, 80, 0.5], [255, 120, 20, 0.32], [255, 190, 40, 0.38]];
const PIXELS = 12; // of the canvas, for each place of the map; the browser enlarges them smoothly
const FAINT = 0.5; // no place of the map reaches it: nothing stands out
const PATIENCE = 400; // ms after which one wonders whether anything happens

let wanted = false; // stays on from photo to photo
let running = null;

export function forget() {
  running?.abort();
  wanted = false;
}

// A button that shows and hides the map of `query` on `frame`, the element around the photo.
export function button(id, query, frame) {
  running?.abort();
  const legend = make("div", { class: "legend", hidden: true });
  const toggle = make(
    "button",
    { class: "where", type: "button", title: S.whereHint, "aria-keyshortcuts": "w", onclick: () => { wanted = !wanted; update(); } },
    icon(ICONS.where),
    S.where,
  );

  const say = (...what) => {
    legend.hidden = what.length === 0;
    legend.replaceChildren(...what);
  };

  async function update() {
    running?.abort();
    frame.querySelector("canvas")?.remove();
    say();
    toggle.setAttribute("aria-pressed", String(wanted));
    if (!wanted) return;
    const controller = (running = new AbortController());
    const patience = setTimeout(() => say(make("span", {}, S.looking)), PATIENCE);
    try {
      const found = await api.why(id, query, controller.signal);
      if (controller.signal.aborted) return;
      clearTimeout(patience);
      frame.append(overlay(found));
      say(...key(found));
    } catch (error) {
      clearTimeout(patience);
      if (error.name !== "AbortError" && !controller.signal.aborted) say(make("span", { role: "alert" }, error.message));
    } finally {
      clearTimeout(patience);
    }
  }

  update();
  return [toggle, legend];
}

const strongest = (map) => Math.max(...map.map((row) => Math.max(...row)));

function key({ query, map }) {
  if (strongest(map) < FAINT) return [make("span", { role: "status" }, S.whereFaint(query))];
  return [
    make("span", { role: "status" }, S.whereLegend(query)),
    make("span", { class: "ramp", "aria-hidden": "true" }, make("i", {}, S.less), make("b", {}), make("i", {}, S.more)),
  ];
}

function overlay({ query, map, rows, columns, area }) {
  const canvas = make("canvas", { role: "img", "aria-label": S.whereAt(query, placeOf(map)), width: columns * PIXELS, height: rows * PIXELS });
  for (const [side, value] of Object.entries(area)) canvas.style.setProperty(side, `${100 * value}%`);
  const { width, height } = canvas;
  const across = weights(columns, width);
  const down = weights(rows, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    // A row of the map between its own rows, then the pixels between its columns.
    const between = map[0].map((_, column) => down[y].reduce((sum, weight, row) => sum + weight * map[row][column], 0));
    for (let x = 0; x < width; x++) {
      const value = across[x].reduce((sum, weight, column) => sum + weight * between[column], 0);
      pixels.data.set(colour(value), 4 * (y * width + x));
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// Of each of `count` places in each of `length` pixels: a uniform cubic B-spline, which is smooth and never overshoots.
function weights(count, length) {
  return Array.from({ length }, (_, pixel) => {
    const at = ((pixel + 0.5) / length) * count - 0.5;
    const first = Math.floor(at);
    const f = at - first;
    const spline = [(1 - f) ** 3, 3 * f ** 3 - 6 * f ** 2 + 4, -3 * f ** 3 + 3 * f ** 2 + 3 * f + 1, f ** 3];
    const row = new Array(count).fill(0);
    spline.forEach((weight, i) => { row[Math.min(count - 1, Math.max(0, first - 1 + i))] += weight / 6; });
    return row;
  });
}

function colour(value) {
  const at = Math.min(1, Math.max(0, value)) * (RAMP.length - 1);
  const i = Math.min(RAMP.length - 2, Math.floor(at));
  const mixed = RAMP[i].map((from, channel) => from + (at - i) * (RAMP[i + 1][channel] - from));
  return [...mixed.slice(0, 3).map(Math.round), Math.round(255 * mixed[3])];
}

// For those who do not see the map: in which ninth of the photo the strongest place lies.
function placeOf(map) {
  const top = strongest(map);
  const row = map.findIndex((each) => each.includes(top));
  const third = (index, count) => Math.min(2, Math.floor((3 * (index + 0.5)) / count));
  return S.ninths[third(row, map.length)][third(map[row].indexOf(top), map[row].length)];
}
