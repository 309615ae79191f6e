// Saved searches: kept by the server under a name, shown where nothing is asked yet, and answered anew each time.

import * as api from "../page/api.js";
import { onAnswer } from "./answered.js";
import { byId, icon, ICONS, make, ornament } from "../page/dom.js";
import { box } from "./examples.js";
import { isBlank, say } from "../grid/results.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const list = byId("saved");
const button = byId("save");

let searches = [];
let started = false; // there was an answer: what is shown before it would be moved by it
let waiting = []; // cards
let asking = null; // the AbortController of the request under way
const found = new Map(); // by search: its last answer, until the index changes

const asState = (search) => ({
  ...state.NOTHING,
  q: search.q,
  mode: search.mode === "auto" ? "" : search.mode,
  sort: search.sort === "relevance" ? "" : search.sort,
  all: search.all ? "1" : "",
  apart: search.collapse ? "" : "1",
  like: search.like.join(" "),
});

// A blank more or less asks nothing else.
const plain = (q) => q.trim().replace(/\s+/g, " ");

const asSearch = (now) => ({
  q: plain(now.q),
  mode: now.mode || "auto",
  sort: now.sort || "relevance",
  all: Boolean(now.all),
  collapse: !now.apart,
  like: now.like.split(" ").filter(Boolean),
});

const present = () => searches.find((search) => state.sameSearch(asState(search), { ...state.get(), q: plain(state.get().q) }));

function card(search) {
  const face = make("span", { class: "face" });
  const count = make("span", { class: "number" });
  const open = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    state.set(asState(search));
  };
  const act = (path, label, onclick) => make("button", { class: "icon", type: "button", "aria-label": label, title: label, onclick }, icon(path));
  const whole = make(
    "li",
    {},
    make("a", { href: state.address(asState(search)), title: search.q, onclick: open }, face, make("span", { class: "name" }, search.name), count),
    act(ICONS.edit, S.rename(search.name), () => name(search.name, (text) => api.renameSearch(search.id, text))),
    act(ICONS.close, S.forget(search.name), () => change(api.forgetSearch(search.id))),
  );
  whole.search = search;
  whole.show = ({ total, hits }) => {
    count.textContent = S.found(total);
    face.replaceChildren(...hits.map((hit) => ornament(api.thumbUrl(hit.id), { loading: "lazy" })));
  };
  if (found.has(search.id)) whole.show(found.get(search.id));
  else inView.observe(whole);
  return whole;
}

// Only cards that can be seen are asked for, one after the other: what someone types meanwhile should not wait for them.
const inView = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    inView.unobserve(target);
    waiting.push(target);
  }
  askOn();
});

async function askOn() {
  if (asking || !waiting.length) return;
  const card = waiting.shift();
  const controller = (asking = new AbortController());
  const { like, ...rest } = asState(card.search);
  try {
    const answer = await api.search({ ...rest, examples: like.split(" ").filter(Boolean).map((each) => ({ like: each })), limit: 3, offset: 0 }, controller.signal);
    found.set(card.search.id, answer);
    card.show(answer);
  } catch {
    // A photo that it is like may be gone; opened, the search says so.
  }
  if (asking !== controller) return;
  asking = null;
  askOn();
}

function draw() {
  const blank = isBlank();
  inView.disconnect();
  waiting = [];
  asking?.abort();
  asking = null;
  list.hidden = !blank || searches.length === 0;
  list.replaceChildren(...(blank ? searches.map(card) : []));
  const kept = present();
  button.hidden = blank || state.examples().some((each) => each.key);
  button.setAttribute("aria-pressed", String(Boolean(kept)));
  button.lastChild.textContent = kept ? S.saved : S.save;
  button.title = kept ? S.forget(kept.name) : S.saveSearch;
}

// The index has changed, or this is the first time. Nothing is taken away under whoever is at a card.
export function refresh() {
  found.clear();
  return load({ unless: list.contains(document.activeElement) });
}

async function load({ unless = false } = {}) {
  try {
    searches = (await api.savedSearches()).searches;
    if (started && !unless) draw();
  } catch {
    // The search itself says what is wrong; they are asked for again when the index changes.
  }
}

async function change(done) {
  try {
    await done;
  } catch (error) {
    say(error.message);
  }
  const at = list.contains(document.activeElement);
  await load();
  if (at) (list.querySelector("a") ?? byId("q")).focus();
}

// Asks for a name in a small window of the page's own.
function name(proposed, keep) {
  const field = make("input", { type: "text", maxlength: "200", required: true, value: proposed, "aria-label": S.nameOfSearch });
  const dialog = make(
    "dialog",
    { class: "naming", "aria-labelledby": "naming", onclose: () => dialog.remove() },
    make(
      "form",
      {
        method: "dialog",
        onsubmit: () => { if (field.value.trim()) change(keep(field.value)); },
      },
      make("h2", { id: "naming" }, S.nameOfSearch),
      field,
      make("div", { class: "actions" }, make("button", { class: "button main", type: "submit" }, S.save), make("button", { class: "button", type: "button", onclick: () => dialog.close() }, S.cancel)),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  field.select();
}

export function start() {
  list.setAttribute("aria-label", S.savedSearches);
  button.append(S.save);
  button.addEventListener("click", () => {
    const kept = present();
    if (kept) return change(api.forgetSearch(kept.id));
    const now = asSearch(state.get());
    const liked = now.like.length ? (box(now.like[0]) ? S.partOfPhoto : S.likeThis) : "";
    name(now.q.trim() || liked, (text) => api.saveSearch({ name: text, ...now }));
  });
  onAnswer(() => { started = true; draw(); });
}
