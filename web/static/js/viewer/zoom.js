// How large a photo is drawn in the viewer, and which part of it is seen.
//
// The frame around the photo gets the size itself, and is not scaled: what lies on the photo keeps its lines as thin as they are.

import * as api from "../page/api.js";
import { make } from "../page/dom.js";
import { S } from "../page/strings.js";

const ENLARGED = 3; // pixels of the screen for one of a small photo, at most, where nobody has zoomed
const DENSE = 2; // the same in CSS pixels on a dense screen
const LARGEST = 4; // CSS pixels for one of the photo
const STEP = 1.5;
const WORTH_IT = 1.6; // an own size that is so much larger than what is seen is what a double click leads to, else TWICE
const TWICE = 2.5;
const PAN = 90; // pixels for each press of an arrow
const COARSE = 1.25; // the thumbnail is replaced where it would be drawn so much larger than it is
const TOO_MANY = 200e6; // pixels: a browser might not survive them
const AGAIN = 2000; // ms after which a full picture that did not come may be asked for again
const REST = 150; // ms without a change after which the size is said, and the full picture is asked for
const NARROW = matchMedia("(max-width: 860px)"); // as in viewer.css
const NARROW_HEIGHT = 0.68; // of the window's: the rest is for what stands below the photo

const within = (place, length, room) => (length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, place)));

export class Zoom {
  // stage > view > frame > image, the large thumbnail of the photo `id`; size: { width, height } of the photo, if they are known.
  constructor({ id, stage, view, frame, image, size, level, said, lack }) {
    Object.assign(this, { id, stage, view, frame, image, level, said, lack });
    this.size = size;
    this.scale = null; // CSS pixels for one of the photo; null: as large as fits
    this.place = { x: 0, y: 0 }; // of the frame in the view
    this.whole = null; // the full picture
    this.why = ""; // there is none
    this.ended = false;
    this.resting = null;
    this.scrolled = 0;
    this.around = new ResizeObserver(() => this.layout());
    this.around.observe(view);
    image.addEventListener("load", () => {
      if (!this.size) this.sized(image.naturalWidth, image.naturalHeight);
      this.rest();
    });
    this.layout();
  }

  get zoomed() { return this.scale !== null; }

  get now() { return this.scale ?? this.fit(); }

  sized(width, height) {
    if (!width || !height) return;
    this.size = { width, height };
    this.layout();
  }

  end() {
    this.ended = true;
    clearTimeout(this.resting);
    this.around.disconnect();
    this.stage.classList.remove("zoomed");
    this.whole?.removeAttribute("src");
  }

  fit() {
    if (!this.size) return 1;
    const { paddingTop, paddingBottom, paddingLeft, paddingRight } = getComputedStyle(this.view);
    const across = this.view.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
    const apart = NARROW.matches && !this.stage.classList.contains("zoomed");
    const down = apart ? NARROW_HEIGHT * innerHeight : this.view.clientHeight - parseFloat(paddingTop) - parseFloat(paddingBottom);
    const { width, height } = this.size;
    return Math.min(across / width, down / height, Math.max(DENSE, ENLARGED / devicePixelRatio));
  }

  // The window or what is known of the photo has changed.
  layout() {
    this.frame.hidden = !this.size;
    if (!this.size) return;
    if (this.zoomed && this.scale <= this.fit()) return this.reset();
    this.draw();
  }

  draw() {
    const { style } = this.frame;
    const [width, height] = [this.size.width * this.now, this.size.height * this.now];
    const apart = NARROW.matches && !this.zoomed;
    this.view.style.height = apart ? `${Math.round(height)}px` : "";
    this.place = { x: within(this.place.x, width, this.view.clientWidth), y: within(this.place.y, height, this.view.clientHeight) };
    style.width = `${width}px`;
    style.height = `${height}px`;
    style.transform = `translate(${this.place.x}px, ${this.place.y}px)`;
    this.level.textContent = S.zoomLevel(this.now);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.rest(), REST);
  }

  rest() {
    if (!this.size || !this.image.naturalWidth) return;
    const drawn = this.size.width * this.now * devicePixelRatio;
    const coarse = this.size.width > this.image.naturalWidth && drawn > COARSE * this.image.naturalWidth;
    if (coarse) this.replace();
    const why = coarse && this.zoomed ? this.why : "";
    if (this.lack.textContent !== why) this.lack.textContent = why; // said once
    if (this.zoomed || this.said.textContent) this.said.textContent = S.zoomedTo(this.now);
  }

  // What is there is covered once the full picture can be drawn at once: nothing flickers or moves.
  async replace() {
    if (this.whole) return;
    if (this.size.width * this.size.height > TOO_MANY) {
      this.why = S.tooManyPixels;
      return;
    }
    this.whole = make("img", { class: "whole", alt: "", decoding: "async", draggable: "false", src: api.pictureUrl(this.id) });
    this.view.setAttribute("aria-busy", "true");
    try {
      await this.whole.decode();
      this.image.after(this.whole);
      this.why = "";
    } catch {
      if (this.ended) return;
      const away = await api.isAway();
      this.why = away ? S.offline : S.notWhole;
      setTimeout(() => {
        this.whole = null;
        if (away && !this.ended) this.rest();
      }, AGAIN);
    }
    this.view.removeAttribute("aria-busy");
    this.rest();
  }

  // point: { x, y } in the window that stays where it is; by default the middle.
  zoomTo(scale, point = this.middle(), { gliding = false } = {}) {
    if (!this.size) return;
    const before = this.view.getBoundingClientRect();
    const at = {
      x: (point.x - before.left - this.place.x) / (this.size.width * this.now),
      y: (point.y - before.top - this.place.y) / (this.size.height * this.now),
    };
    if (!this.zoomed) this.scrolled = this.stage.parentElement.scrollTop;
    this.stage.classList.add("zoomed"); // on a narrow screen the photo now has all of it
    this.view.style.height = "";
    const fit = this.fit();
    if (scale <= fit * 1.01) return this.reset({ gliding });
    this.scale = Math.min(scale, Math.max(LARGEST, 2 * fit));
    const after = this.view.getBoundingClientRect();
    this.place = { x: point.x - after.left - at.x * this.size.width * this.scale, y: point.y - after.top - at.y * this.size.height * this.scale };
    this.frame.classList.toggle("gliding", gliding);
    this.draw();
  }

  reset({ gliding = false } = {}) {
    if (!this.size) return;
    const was = this.stage.classList.contains("zoomed");
    this.scale = null;
    this.stage.classList.remove("zoomed");
    this.frame.classList.toggle("gliding", gliding);
    this.draw();
    if (was) this.stage.parentElement.scrollTop = this.scrolled;
  }

  by(factor, point) { this.zoomTo(this.now * factor, point, { gliding: true }); }

  toggle(point) {
    if (this.zoomed) return this.reset({ gliding: true });
    const fit = this.fit();
    this.zoomTo(fit * WORTH_IT <= 1 ? 1 : fit * TWICE, point, { gliding: true });
  }

  pan(x, y, { gliding = false } = {}) {
    this.place = { x: this.place.x + x, y: this.place.y + y };
    this.frame.classList.toggle("gliding", gliding);
    this.draw();
  }

  middle() {
    const { left, top, width, height } = this.view.getBoundingClientRect();
    return { x: left + width / 2, y: top + height / 2 };
  }

  // While a finger goes on to another photo, this one goes along.
  lean(by) { this.frame.style.translate = by ? `${by}px` : ""; }

  // Whether the key was for this.
  key(event) {
    const arrow = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] }[event.key];
    if (event.key === "+" || event.key === "=") this.by(STEP);
    else if (event.key === "-" || event.key === "_") this.by(1 / STEP);
    else if (event.key === "0") this.reset({ gliding: true });
    else if (arrow && this.zoomed) this.pan(...arrow, { gliding: true });
    else return false;
    event.preventDefault();
    return true;
  }

  in() { this.by(STEP); }

  out() { this.by(1 / STEP); }
}
