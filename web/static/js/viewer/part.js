// Drawing a box on a photo, to search by what is in it: by the mouse, a finger or the keys.

import { icon, ICONS, make } from "../page/dom.js";
import { S } from "../page/strings.js";

const LEAST = 0.02; // of the photo's width and height
const STEP = 0.02; // of the photo, for each press of an arrow
const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

// A button that lets one draw on `frame`, the element around the photo; `search` gets [left, top, right, bottom], 0 to 1.
export function button(frame, search) {
  let layer = null;
  let go = null;
  const toggle = make(
    "button",
    { class: "part", type: "button", title: S.partHint, "aria-keyshortcuts": "b", "aria-pressed": "false", onclick: () => (layer ? stop() : draw()) },
    icon(ICONS.part),
    make("span", {}, S.part),
  );

  function stop() {
    layer?.remove();
    go?.remove();
    layer = null;
    toggle.setAttribute("aria-pressed", "false");
    toggle.focus({ focusVisible: false });
  }

  function draw() {
    let box = [0.25, 0.25, 0.75, 0.75];
    let from = null;
    const rect = make("div", { class: "rect" });
    go = make("button", { class: "button main go", type: "button", onclick: () => finish() }, S.searchPart);
    const said = make("span", { class: "unseen", role: "status" });
    layer = make("div", { class: "drawing", tabindex: "0", role: "application", "aria-label": S.partKeys }, rect, said);
    const show = () => {
      const [left, top, right, bottom] = box;
      Object.assign(rect.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    };
    const finish = () => {
      const [left, top, right, bottom] = box;
      stop();
      if (right - left >= LEAST && bottom - top >= LEAST) search(box.map((each) => +each.toFixed(4)));
    };
    const at = (event) => {
      const { left, top, width, height } = layer.getBoundingClientRect();
      return [clamp((event.clientX - left) / width, 0, 1), clamp((event.clientY - top) / height, 0, 1)];
    };
    layer.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      layer.setPointerCapture(event.pointerId);
      from = at(event);
      box = [...from, ...from];
      show();
    });
    layer.addEventListener("pointermove", (event) => {
      if (!from) return;
      const to = at(event);
      box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
      show();
    });
    layer.addEventListener("pointercancel", () => { from = null; });
    layer.addEventListener("pointerup", () => {
      if (!from) return;
      from = null;
      // A click is no box: whoever meant it draws.
      if (box[2] - box[0] < LEAST || box[3] - box[1] < LEAST) {
        box = [0.25, 0.25, 0.75, 0.75];
        show();
      } else finish();
    });
    layer.addEventListener("keydown", (event) => {
      const along = { ArrowLeft: [0, -STEP], ArrowRight: [0, STEP], ArrowUp: [1, -STEP], ArrowDown: [1, STEP] }[event.key];
      if (along) {
        const [axis, step] = along;
        if (event.shiftKey) box[axis + 2] = clamp(box[axis + 2] + step, box[axis] + LEAST, 1);
        else {
          const moved = clamp(step, -box[axis], 1 - box[axis + 2]);
          box[axis] += moved;
          box[axis + 2] += moved;
        }
        show();
        said.textContent = S.partAt(...box.map((each) => Math.round(100 * each)));
      } else if (event.key === "Enter") finish();
      else if (event.key === "Escape") stop();
      else return;
      event.preventDefault();
      event.stopPropagation(); // neither the next photo nor the end of the viewer
    });
    show();
    frame.append(layer);
    frame.closest(".stage").append(go);
    toggle.setAttribute("aria-pressed", "true");
    layer.focus({ focusVisible: false });
  }

  return toggle;
}
