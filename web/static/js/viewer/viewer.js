// One photo, large, with what is known about it and why it is among the hits.

import { onAnswer } from "../asking/answered.js";
import * as api from "../page/api.js";
import { heading } from "./caption.js";
import { byId, fileName, icon, ICONS, make } from "../page/dom.js";
import * as events from "../page/events.js";
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
let relate = null; // brings the arrows and the tools up to date with the answer
let broken = false; // something did not come: worth opening again once the server is back

// Each has one like it beside the next photo, which takes the focus over.
const STAYING = ["prev", "next", "where", "part", "out", "level", "in"];

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

function complain(error) {
  const aside = dialog.querySelector(".about");
  aside?.querySelector(":scope > .notice")?.remove();
  aside?.prepend(make("p", { class: "notice", role: "alert" }, error.message));
  if (error.offline || error.status >= 500) broken = true;
  if (error.offline) events.doubt();
}

// Whoever goes through a moment, or on from photo to photo, by the keyboard stays on the button when it is drawn anew.
function keepingPlace(draw) {
  const had = document.activeElement;
  const focusVisible = had.matches(":focus-visible");
  const buttons = () => [...dialog.querySelectorAll(".moment button")];
  const place = buttons().indexOf(had);
  const kind = STAYING.find((each) => had.matches(`.stage .${each}`));
  draw();
  const now = document.activeElement;
  if (dialog.contains(now) && now !== dialog && !now.disabled) return;
  const enabled = (each) => each && dialog.querySelector(`.stage .${each}:enabled`);
  // At the last photo the way back: one more Enter should not close what is looked at.
  const heir = buttons()[place] ?? enabled(kind) ?? enabled({ next: "prev", prev: "next" }[kind]);
  if (heir) heir.focus({ focusVisible });
  else dialog.querySelector(".close").focus({ focusVisible: false });
}

// What the answer tells of the photo.
const answer = (id) => [moment(id), reasons(hitOf(id))].filter(Boolean);

function about(id, photo) {
  return [
    heading(id, photo ?? hitOf(id), (edited) => {
      const hit = hitOf(id);
      if (hit) {
        hit.caption = edited.caption;
        retitle(hit);
      }
      if (shown !== id) return;
      dialog.querySelector(".photo img")?.setAttribute("alt", edited.caption || fileName(edited.path));
      const aside = dialog.querySelector(".about");
      const beside = [...aside.querySelectorAll(".alike")];
      aside.replaceChildren(...about(id, edited), ...beside);
      dialog.querySelector(".edit")?.focus();
    }),
    make(
      "div",
      { class: "actions" },
      make("button", { class: "button main", type: "button", onclick: () => likeThis(id) }, S.moreLikeThis),
      isBlank() ? null : make("button", { class: "button", type: "button", title: S.addPicture, onclick: () => examples.add(id) }, S.addToSearch),
      make("a", { class: "button", href: api.fileUrl(id), target: "_blank", rel: "noopener" }, S.original),
    ),
    ...answer(id),
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
  const cut = part.button(frame, (box) => likeThis(`${id}@${box.join(",")}`));
  const previous = button("prev", S.previous, ICONS.previous, () => step(-1));
  const next = button("next", S.next, ICONS.next, () => step(1));
  const close = button("close", S.close, ICONS.close, () => state.closePhoto());
  const level = make("span", {});
  const fit = make("button", { class: "level", type: "button", title: S.zoomFit, "aria-keyshortcuts": "0", onclick: () => zoom.reset({ gliding: true }) }, level, make("span", { class: "unseen" }, S.zoomFit));
  const sizes = make(
    "div",
    { class: "sizes", role: "group", "aria-label": S.zoom },
    make("button", { class: "out", type: "button", "aria-label": S.zoomOut, title: S.zoomOut, "aria-keyshortcuts": "-", onclick: () => zoom.out() }, icon(ICONS.minus)),
    fit,
    make("button", { class: "in", type: "button", "aria-label": S.zoomIn, title: S.zoomIn, "aria-keyshortcuts": "+", onclick: () => zoom.in() }, icon(ICONS.plus)),
  );
  const said = make("span", { class: "unseen", role: "status" });
  const lack = make("p", { class: "lack", role: "status" });
  const tools = make("div", { class: "tools" }, cut);
  const stage = make("div", { class: "stage" }, view, close, previous, next, tools, sizes, said, lack);
  relate = () => {
    const place = placeOf(id);
    previous.disabled = place <= 0;
    next.disabled = place < 0 || place >= total() - 1;
    // Asked for in words, be it beside a picture: there is something to look for.
    const inWords = hitOf(id)?.why.some((reason) => reason.signal !== "image");
    if (!inWords || tools.querySelector(".where")) return;
    const [toggle, legend] = where.button(id, state.get().q, frame);
    tools.append(toggle);
    tools.after(legend);
  };
  relate();
  image.addEventListener("error", async () => {
    zoom.end();
    sizes.remove();
    const away = await api.isAway();
    if (away && shown === id) broken = true;
    view.replaceChildren(make("p", { class: "failed" }, away ? S.offline : S.noThumb));
  });
  const begin = () => {
    zoom?.end();
    zoom = new Zoom({ id, stage, view, frame, image, size: hit?.width && hit.height ? { width: hit.width, height: hit.height } : null, level, said, lack });
    listen(view, zoom, step);
  };
  return { stage, image, close, begin };
}

const seen = (image) => new Promise((resolve) => {
  if (image.complete) return resolve();
  for (const event of ["load", "error"]) image.addEventListener(event, resolve);
});

// Photos that were passed by are not waited for.
function giveUp() {
  running?.abort();
  const image = dialog.querySelector(".photo img");
  if (image && !image.complete) image.removeAttribute("src");
}

async function open(id) {
  giveUp();
  broken = false;
  const controller = (running = new AbortController());
  shown = id;
  if (placeOf(id) >= 0) tile = id;
  follow(id);
  const hit = hitOf(id);
  const { stage, image, close, begin } = staged(id, hit);
  const aside = make("div", { class: "about" }, ...about(id, null));
  dialog.setAttribute("aria-labelledby", "viewer-title");
  if (dialog.open) keepingPlace(() => dialog.replaceChildren(stage, aside));
  else {
    dialog.replaceChildren(stage, aside);
    dialog.showModal();
    close.focus({ focusVisible: false });
  }
  begin();
  dialog.scrollTop = 0;
  try {
    const photo = await api.photo(id, controller.signal);
    image.alt = photo.caption || fileName(photo.path);
    zoom.sized(photo.width, photo.height);
    keepingPlace(() => aside.replaceChildren(...about(id, photo)));
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
    giveUp();
    broken = false;
    where.forget();
    zoom?.end();
    dialog.close();
    focusTile(tile);
  }
}

// After a reload the photo is there before the hits are: once they come, so do the arrows and the reasons.
function refresh() {
  const id = state.get().photo;
  if (!id || id !== shown || !dialog.open) return;
  if (placeOf(id) >= 0) tile = id;
  follow(id);
  keepingPlace(() => {
    relate();
    for (const old of dialog.querySelectorAll(".about > :is(.moment, .reasons)")) old.remove();
    dialog.querySelector(".about > .actions").after(...answer(id));
  });
}

// The server is there: ask once more for what did not come.
export function recover() {
  if (broken && dialog.open) open(shown);
}

export function start() {
  onAnswer((answer) => { if (answer) refresh(); });
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
