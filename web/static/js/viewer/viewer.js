// One photo, large, with what is known about it and why it is among the hits.

import * as api from "../page/api.js";
import { heading } from "./caption.js";
import { byId, fileName, icon, ICONS, make } from "../page/dom.js";
import * as examples from "../asking/examples.js";
import { facts, written } from "./facts.js";
import { listen } from "./gestures.js";
import { focusTile, follow, retitle } from "../grid/grid.js";
import { leaveFor } from "./leave.js";
import * as part from "./part.js";
import { reasons } from "./reasons.js";
import { hitOf, isBlank, neighbour, placeOf, total } from "../grid/results.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";
import { alike, moment } from "./strips.js";
import { tags } from "./tags.js";
import * as where from "./where.js";
import { Zoom } from "./zoom.js";

const dialog = byId("viewer");
let running = null;
let shown = "";
let tile = ""; // the last one shown that is in the grid
let zoom = null;

const button = (kind, label, path, onclick) =>
  make("button", { class: `icon ${kind}`, type: "button", "aria-label": label, title: label, onclick }, icon(path));

// Whether there was another photo to go to.
async function step(by) {
  const from = state.get().photo;
  try {
    const next = await neighbour(from, by);
    if (next && state.get().photo === from) state.set({ photo: next.id }, { replace: true });
    return Boolean(next);
  } catch (error) {
    if (shown === from) complain(error);
    return false;
  }
}

const complain = (error) => dialog.querySelector(".about")?.prepend(make("p", { class: "notice", role: "alert" }, error.message));

// Whoever goes through a moment by the keyboard stays there when it is drawn anew; false: the focus was elsewhere.
function keepingPlace(draw) {
  const buttons = () => [...dialog.querySelectorAll(".moment button")];
  const place = buttons().indexOf(document.activeElement);
  draw();
  buttons()[place]?.focus();
  return place >= 0;
}

function about(id, photo, hit) {
  return [
    heading(id, photo ?? hit, (edited) => {
      if (hit) {
        hit.caption = edited.caption;
        retitle(hit);
      }
      if (shown !== id) return;
      dialog.querySelector(".photo img")?.setAttribute("alt", edited.caption || fileName(edited.path));
      const aside = dialog.querySelector(".about");
      const beside = [...aside.querySelectorAll(".alike")];
      aside.replaceChildren(...about(id, edited, hit), ...beside);
      dialog.querySelector(".edit")?.focus();
    }),
    make(
      "div",
      { class: "actions" },
      make("button", { class: "button main", type: "button", onclick: () => likeThis(id) }, S.moreLikeThis),
      isBlank() ? null : make("button", { class: "button", type: "button", title: S.addPicture, onclick: () => examples.add(id) }, S.addToSearch),
      make("a", { class: "button", href: api.fileUrl(id), target: "_blank", rel: "noopener" }, S.original),
    ),
    moment(id),
    reasons(hit),
    photo ? tags(photo) : null,
    photo?.text.length ? written(photo.text) : null,
    photo ? facts(photo) : null,
  ].filter(Boolean);
}

const likeThis = (like) => leaveFor({ like });

// The photo, and the buttons on it; `zoom` is to be ended when another takes its place.
function staged(id, hit) {
  const image = make("img", { src: api.thumbUrl(id, "large"), alt: hit?.caption || (hit ? fileName(hit.path) : ""), draggable: "false" });
  const frame = make("div", { class: "photo" }, image);
  const view = make("div", { class: "pane" }, frame);
  // Asked for in words, be it beside a picture: there is something to look for.
  const inWords = hit?.why.some((reason) => reason.signal !== "image");
  const cut = part.button(frame, (box) => likeThis(`${id}@${box.join(",")}`));
  const map = inWords ? where.button(id, state.get().q, frame) : [];
  const place = placeOf(id);
  const previous = button("prev", S.previous, ICONS.previous, () => step(-1));
  const next = button("next", S.next, ICONS.next, () => step(1));
  previous.disabled = place <= 0;
  next.disabled = place < 0 || place >= total() - 1;
  const close = button("close", S.close, ICONS.close, () => state.closePhoto());
  const level = make("span", {});
  const fit = make("button", { class: "level", type: "button", title: S.zoomFit, "aria-keyshortcuts": "0", onclick: () => zoom.reset({ gliding: true }) }, level, make("span", { class: "unseen" }, S.zoomFit));
  const sizes = make(
    "div",
    { class: "sizes", role: "group", "aria-label": S.zoom },
    make("button", { type: "button", "aria-label": S.zoomOut, title: S.zoomOut, "aria-keyshortcuts": "-", onclick: () => zoom.out() }, icon(ICONS.minus)),
    fit,
    make("button", { type: "button", "aria-label": S.zoomIn, title: S.zoomIn, "aria-keyshortcuts": "+", onclick: () => zoom.in() }, icon(ICONS.plus)),
  );
  const said = make("span", { class: "unseen", role: "status" });
  const stage = make("div", { class: "stage" }, view, close, previous, next, make("div", { class: "tools" }, cut, ...map.slice(0, 1)), ...map.slice(1), sizes, said);
  image.addEventListener("error", () => {
    zoom.end();
    sizes.remove();
    view.replaceChildren(make("p", { class: "failed" }, S.noThumb));
  });
  const begin = () => {
    zoom?.end();
    zoom = new Zoom({ id, stage, view, frame, image, size: hit?.width && hit.height ? { width: hit.width, height: hit.height } : null, level, said });
    listen(view, zoom, step);
  };
  return { stage, image, close, begin };
}

const seen = (image) => new Promise((resolve) => {
  if (image.complete) return resolve();
  for (const event of ["load", "error"]) image.addEventListener(event, resolve);
});

async function open(id) {
  running?.abort();
  const controller = (running = new AbortController());
  shown = id;
  if (placeOf(id) >= 0) tile = id;
  follow(id);
  const hit = hitOf(id);
  const { stage, image, close, begin } = staged(id, hit);
  const aside = make("div", { class: "about" }, ...about(id, null, hit));
  dialog.setAttribute("aria-labelledby", "viewer-title");
  const stepping = keepingPlace(() => dialog.replaceChildren(stage, aside));
  if (!dialog.open) dialog.showModal();
  begin();
  if (!stepping) close.focus({ focusVisible: false });
  dialog.scrollTop = 0;
  try {
    const photo = await api.photo(id, controller.signal);
    image.alt = photo.caption || fileName(photo.path);
    zoom.sized(photo.width, photo.height);
    keepingPlace(() => aside.replaceChildren(...about(id, photo, hit)));
  } catch (error) {
    if (error.name === "AbortError") return;
    complain(error);
  }
  await seen(image);
  if (!controller.signal.aborted) aside.append(alike(id, controller.signal));
}

export function sync() {
  const id = state.get().photo;
  if (id) open(id);
  else if (dialog.open) {
    running?.abort();
    where.forget();
    zoom?.end();
    dialog.close();
    focusTile(tile);
  }
}

// After a reload the photo is there before the hits are: once they come, so do the arrows and the reasons.
export function refresh() {
  const id = state.get().photo;
  if (id && dialog.open && placeOf(id) >= 0) open(id);
}

export function start() {
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    state.closePhoto();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (zoom?.key(event)) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key.toLowerCase() === "w") dialog.querySelector(".where")?.click();
    else if (event.key.toLowerCase() === "b") dialog.querySelector(".part")?.click();
  });
}
