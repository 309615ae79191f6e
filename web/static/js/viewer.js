// One photo, large, with what is known about it and why it is among the hits.

import * as api from "./api.js";
import { heading } from "./caption.js";
import { byId, fileName, icon, ICONS, make } from "./dom.js";
import * as examples from "./examples.js";
import { formatBytes, formatDate, formatMoment } from "./formats.js";
import { focusTile, follow, retitle } from "./grid.js";
import * as part from "./part.js";
import { filter } from "./query.js";
import { hitOf, isBlank, leaderOf, neighbour, placeOf, total } from "./results.js";
import * as state from "./state.js";
import { S } from "./strings.js";
import * as where from "./where.js";

const dialog = byId("viewer");
let running = null;
let shown = "";

const button = (kind, label, path, onclick) =>
  make("button", { class: `icon ${kind}`, type: "button", "aria-label": label, title: label, onclick }, icon(path));

async function step(by) {
  const from = state.get().photo;
  try {
    const next = await neighbour(from, by);
    if (next && state.get().photo === from) state.set({ photo: next.id }, { replace: true });
  } catch (error) {
    if (shown === from) complain(error);
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

// The photos that stand behind one hit, that hit first: each a click away.
function moment(id) {
  const leader = leaderOf(id);
  if (!leader?.others.length) return null;
  const ids = [leader.id, ...leader.others];
  const photos = ids.map((each, at) => make(
    "li",
    {},
    make(
      "button",
      { type: "button", "aria-label": S.ofMoment(at + 1, ids.length), "aria-current": each === id && "true", onclick: () => state.set({ photo: each }, { replace: true }) },
      make("img", { src: api.thumbUrl(each), alt: "", loading: "lazy", decoding: "async" }),
    ),
  ));
  return make("section", {}, make("h3", {}, S.moment), make("ul", { class: "moment" }, ...photos));
}

function why(hit) {
  if (!hit || hit.why.length === 0) return null;
  const lines = hit.why.map((reason) => {
    if (reason.signal === "words") {
      const parts = (reason.parts ?? []).map((part) => make(part.marked ? "mark" : "span", {}, part.text));
      return make("li", {}, make("span", { class: "field" }, S.fields[reason.field] ?? reason.field), ...parts);
    }
    const similarity = reason.similarity ?? 0;
    return make(
      "li",
      {},
      make("div", { class: "line" }, make("span", {}, S.signals[reason.signal] ?? reason.signal), make("span", {}, similarity.toFixed(3))),
      make("div", { class: "field" }, reason.rank === 1 ? S.nearest : S.nearer(reason.percentile)),
      make("meter", { min: "0", max: "1", value: String(Math.max(0, Math.min(1, similarity))), "aria-hidden": "true" }),
    );
  });
  return make("section", {}, make("h3", {}, S.whyMatched), make("ul", { class: "why" }, ...lines));
}

// A long path breaks behind its slashes, not in the middle of a name.
const breakable = (path) => make("span", {}, ...path.split(/(?<=[\\/])/).flatMap((part) => [part, make("wbr")]));

function facts(photo) {
  const rows = [];
  const row = (name, ...values) => {
    const given = values.filter(Boolean);
    if (given.length) rows.push(make("dt", {}, name), ...given.map((value) => make("dd", {}, value)));
  };
  const { facts: names } = S;
  row(names.taken, photo.taken_at && formatDate(photo.taken_at));
  row(names.camera, photo.camera);
  row(names.lens, photo.lens);
  if (photo.width && photo.height) {
    row(names.size, `${S.dimensions(photo.width, photo.height)} · ${S.megapixels((photo.width * photo.height) / 1e6)}`);
  }
  row(names.file, [photo.format, photo.bytes && formatBytes(photo.bytes)].filter(Boolean).join(" · "));
  if (photo.latitude !== null && photo.longitude !== null) {
    row(names.place, `${photo.latitude.toFixed(5)}, ${photo.longitude.toFixed(5)}`);
  }
  row(names.added, photo.added_at && formatMoment(photo.added_at));
  row(names.path, ...photo.paths.map(breakable));
  return make("section", {}, make("h3", {}, S.details), make("dl", { class: "facts" }, ...rows));
}

// Each tag is a search for the photos that have it; so is a kind, where it is not just a photo.
function tags(photo) {
  const found = photo.tags.map(({ tag }) => [tag, filter("tag", tag)]);
  if (photo.kind && photo.kind !== "photo") found.unshift([S.kindOf(photo.kind), `is:${photo.kind}`]);
  if (!found.length) return null;
  const items = found.map(([name, query]) => {
    const follow = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in another tab
      event.preventDefault();
      leaveFor({ q: query });
    };
    return make("li", {}, make("a", { class: "tag", href: state.address(search({ q: query })), title: S.searchFor(query), onclick: follow }, name));
  });
  return make("section", {}, make("h3", {}, S.tags), make("ul", { class: "tags" }, ...items));
}

const search = (asked) => ({ ...state.NOTHING, apart: state.get().apart, ...asked });

function leaveFor(asked) {
  state.set(search(asked));
  scrollTo({ top: 0 });
}

const written = (lines) =>
  make("section", {}, make("h3", {}, S.textInPicture), make("p", { class: "text" }, lines.map((line) => line.text).join("\n")));

function about(id, photo, hit) {
  return [
    heading(id, photo ?? hit, (edited) => {
      if (hit) {
        hit.caption = edited.caption;
        retitle(hit);
      }
      if (shown !== id) return;
      dialog.querySelector(".photo img")?.setAttribute("alt", edited.caption || fileName(edited.path));
      dialog.querySelector(".about").replaceChildren(...about(id, edited, hit));
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
    why(hit),
    photo ? tags(photo) : null,
    photo?.text.length ? written(photo.text) : null,
    photo ? facts(photo) : null,
  ].filter(Boolean);
}

function likeThis(like) {
  leaveFor({ like });
}

async function open(id) {
  running?.abort();
  const controller = (running = new AbortController());
  shown = id;
  follow(id);
  const place = placeOf(id);
  const hit = hitOf(id);
  const image = make("img", { src: api.thumbUrl(id, "large"), alt: hit?.caption || (hit ? fileName(hit.path) : "") });
  if (hit?.width && hit.height) {
    image.setAttribute("width", hit.width);
    image.setAttribute("height", hit.height);
    image.style.setProperty("width", "auto");
    image.style.setProperty("height", "auto");
  }
  image.addEventListener("error", () => frame.replaceWith(make("p", { class: "failed" }, S.noThumb)));
  const frame = make("div", { class: "photo" }, image);
  // Asked for in words, be it beside a picture: there is something to look for.
  const inWords = hit?.why.some((reason) => reason.signal !== "image");
  const cut = part.button(frame, (box) => likeThis(`${id}@${box.join(",")}`));
  const map = inWords ? where.button(id, state.get().q, frame) : [];
  const previous = button("prev", S.previous, ICONS.previous, () => step(-1));
  const next = button("next", S.next, ICONS.next, () => step(1));
  previous.disabled = place <= 0;
  next.disabled = place < 0 || place >= total() - 1;
  const aside = make("div", { class: "about" }, ...about(id, null, hit));
  dialog.setAttribute("aria-labelledby", "viewer-title");
  const close = button("close", S.close, ICONS.close, () => state.closePhoto());
  const stepping = keepingPlace(() => dialog.replaceChildren(make("div", { class: "stage" }, frame, close, previous, next, make("div", { class: "tools" }, cut, ...map.slice(0, 1)), ...map.slice(1)), aside));
  if (!dialog.open) dialog.showModal();
  if (!stepping) close.focus({ focusVisible: false });
  dialog.scrollTop = 0;
  try {
    const photo = await api.photo(id, controller.signal);
    image.alt = photo.caption || fileName(photo.path);
    keepingPlace(() => aside.replaceChildren(...about(id, photo, hit)));
  } catch (error) {
    if (error.name === "AbortError") return;
    complain(error);
  }
}

export function sync() {
  const id = state.get().photo;
  if (id) open(id);
  else if (dialog.open) {
    running?.abort();
    where.forget();
    dialog.close();
    focusTile(shown);
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
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key.toLowerCase() === "w") dialog.querySelector(".where")?.click();
    else if (event.key.toLowerCase() === "b") dialog.querySelector(".part")?.click();
  });
}
