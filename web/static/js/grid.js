// The grid of hits: tiles keep their place from the first moment, thumbnails come as they are scrolled to.

import { thumbUrl } from "./api.js";
import { byId, fileName, make } from "./dom.js";
import * as state from "./state.js";
import { S } from "./strings.js";

const grid = byId("grid");
// Panoramas and strips are cropped in the grid, so that one photo cannot take a whole row or a sliver.
const NARROWEST = 0.56;
const WIDEST = 2.4;

export const titleOf = (hit) => hit.caption || fileName(hit.path);

function tile(hit) {
  const ratio = Math.min(WIDEST, Math.max(NARROWEST, (hit.width || 4) / (hit.height || 3)));
  const image = make("img", { src: thumbUrl(hit.id), alt: titleOf(hit), loading: "lazy", decoding: "async", draggable: "false" });
  const link = make(
    "a",
    {
      class: hit.relevant ? "tile" : "tile less",
      href: state.address({ photo: hit.id }),
      "data-id": hit.id,
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        state.set({ photo: hit.id });
      },
    },
    image,
    make("span", { class: "words", "aria-hidden": "true" }, titleOf(hit)),
    hit.others.length ? make("span", { class: "more", title: S.moreOfMoment(hit.others.length) }, `+${hit.others.length}`) : null,
  );
  image.addEventListener("load", () => link.classList.add("shown"));
  image.addEventListener("error", () => link.classList.add("broken"));
  const item = make("li", {}, link);
  item.style.setProperty("--ratio", ratio.toFixed(4));
  return item;
}

export function show(hits) {
  grid.classList.remove("stale");
  grid.replaceChildren(...hits.map(tile));
}

export function add(hits) {
  grid.append(...hits.map(tile));
}

// The old answer stays, faintly, until the new one is there: an empty flash between two answers tires the eye.
export const markStale = () => grid.classList.add("stale");
export const unmarkStale = () => grid.classList.remove("stale");

// After its caption was edited.
export function retitle(hit) {
  const link = grid.querySelector(`[data-id="${CSS.escape(hit.id)}"]`);
  if (!link) return;
  link.querySelector("img").alt = titleOf(hit);
  link.querySelector(".words").textContent = titleOf(hit);
}

export function focusTile(id) {
  grid.querySelector(`[data-id="${CSS.escape(id)}"]`)?.focus();
}

