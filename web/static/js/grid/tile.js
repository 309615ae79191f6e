// One photo in the grid: a blur and its date at once, the thumbnail when it comes.

import { thumbUrl } from "../page/api.js";
import { fileName, icon, ICONS, make } from "../page/dom.js";
import { formatDay } from "../page/formats.js";
import * as preview from "./preview.js";
import * as selection from "./selection.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const SIDES = { small: 320, medium: 640 }; // the longer side of the thumbnails, in pixels
const LARGER = 1.15; // a thumbnail that is drawn so much larger than it is still looks sharp
const NARROW = 96; // pixels: too few for a day
const AT_ONCE = 80; // ms; a thumbnail that is there so soon was kept by the browser: fading it in would be flicker

export const titleOf = (hit) => hit.caption || fileName(hit.path);

export class Tile {
  // old: the tile of the same photo in the answer before, whose picture is shown on.
  constructor(hit, place, old = null) {
    this.hit = hit;
    this.place = place;
    this.started = old?.started ?? 0;
    this.image = old?.image ?? make("img", { decoding: "async", draggable: "false" });
    this.image.alt = titleOf(hit);
    this.blur = hit.preview ? preview.draw(hit.preview) : null;
    const day = hit.taken_at ? formatDay(hit.taken_at) : "";
    this.date = day ? make("time", { datetime: hit.taken_at }, day) : null;
    this.words = make("span", { class: "words", "aria-hidden": "true" }, titleOf(hit));
    this.link = make(
      "a",
      { class: day ? "tile dated" : "tile", href: state.address({ photo: hit.id }), "data-id": hit.id, tabindex: "-1" },
      this.blur?.canvas,
      this.image,
      this.words,
      this.date,
      hit.offline ? make("span", { class: "away", title: S.away }, icon(ICONS.away), make("span", { class: "unseen" }, S.away)) : null,
      hit.others.length ? make("span", { class: "more", title: S.moreOfMoment(hit.others.length) }, `+${hit.others.length}`) : null,
    );
    this.link.classList.toggle("less", !hit.relevant);
    this.link.classList.toggle("offline", hit.offline);
    for (const kind of ["shown", "known", "broken"]) this.link.classList.toggle(kind, old?.link.classList.contains(kind) ?? false);
    this.check = make("button", { class: "check", type: "button", tabindex: "-1" }, icon(ICONS.check));
    this.selected = make("span", { class: "unseen" });
    this.link.append(this.selected);
    this.element = make("li", {}, this.link, this.check);
    this.mark();
  }

  // In pixels of the grid.
  arrange({ left, width }, top, height) {
    if (this.left === left && this.top === top && this.width === width && this.height === height) return;
    const monthAlone = width < NARROW;
    if (this.date && monthAlone !== this.width < NARROW) this.date.textContent = formatDay(this.hit.taken_at, { monthAlone });
    Object.assign(this, { left, top, width, height });
    const { style } = this.element;
    style.left = `${left}px`;
    style.top = `${top}px`;
    style.width = `${width}px`;
    style.height = `${height}px`;
    if (this.started) this.image.sizes = this.sizes();
  }

  // Whether it is selected.
  mark() {
    const selected = selection.has(this.hit.id);
    this.element.classList.toggle("selected", selected);
    this.check.setAttribute("aria-pressed", String(selected));
    this.check.setAttribute("aria-label", S.select(titleOf(this.hit)));
    this.selected.textContent = selected ? S.isSelected : "";
  }

  number(total) {
    this.element.setAttribute("aria-posinset", this.place + 1);
    this.element.setAttribute("aria-setsize", total);
  }

  // How wide a thumbnail is needed: a panorama's is wider than its tile, which crops it.
  sizes() {
    const ratio = (this.hit.width || 4) / (this.hit.height || 3);
    return `${Math.ceil(Math.max(this.width, this.height * ratio) / LARGER)}px`;
  }

  // Ask for the thumbnail. near: it is to be seen right away.
  start(near) {
    const { id, width, height } = this.hit;
    const ratio = (width || 4) / (height || 3);
    const wide = (side) => Math.max(1, Math.round(Math.min(width || side, side * Math.min(1, ratio))));
    this.started = performance.now();
    this.image.fetchPriority = near ? "auto" : "low";
    this.image.sizes = this.sizes();
    this.image.srcset = Object.entries(SIDES).map(([size, side]) => `${thumbUrl(id, size)} ${wide(side)}w`).join(", ");
  }

  came() {
    if (performance.now() - this.started < AT_ONCE) this.link.classList.add("known");
    this.link.classList.add("shown");
  }

  failed() { this.link.classList.add("broken"); }

  retitle(hit) {
    this.hit = hit;
    this.image.alt = titleOf(hit);
    this.words.textContent = titleOf(hit);
    this.mark();
  }

  // Leaves the page; a thumbnail that is still on its way is not waited for.
  remove() {
    this.element.remove();
    if (this.blur) preview.forget(this.blur);
    if (!this.image.complete) this.image.removeAttribute("srcset");
  }
}
