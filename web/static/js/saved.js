// Saved searches: kept by the server under a name, shown where nothing is asked yet, and answered anew each time.

import * as api from "./api.js";
import { onAnswer } from "./answered.js";
import { byId, icon, ICONS, make } from "./dom.js";
import { box } from "./examples.js";
import { isBlank, say } from "./results.js";
import * as state from "./state.js";
import { S } from "./strings.js";

const list = byId("saved");
const button = byId("save");

let searches = [];
let started = false; // there was an answer: what is shown before it would be moved by it
let found = new Map(); // by search: its last answer, so that cards do not flicker

const asState = (search) => ({
  ...state.NOTHING,
  q: search.q,
  mode: search.mode === "auto" ? "" : search.mode,
  sort: search.sort === "relevance" ? "" : search.sort,
  all: search.all ? "1" : "",
  apart: search.collapse ? "" : "1",
  like: search.like.join(" "),
});

const asSearch = (now) => ({
  q: now.q,
  mode: now.mode || "auto",
  sort: now.sort || "relevance",
  all: Boolean(now.all),
  collapse: !now.apart,
  like: now.like.split(" ").filter(Boolean),
});

const present = () => searches.find((search) => state.sameSearch(asState(search), state.get()));

function card(search) {
  const face = make("span", { class: "face" });
  const count = make("span", { class: "number" });
  const show = ({ total, hits }) => {
    count.textContent = S.found(total);
    face.replaceChildren(...hits.map((hit) => make("img", { src: api.thumbUrl(hit.id), alt: "", loading: "lazy" })));
  };
  if (found.has(search.id)) show(found.get(search.id));
  ask(search).then(show, () => { count.textContent = ""; });
  const open = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    state.set(asState(search));
  };
  const act = (path, label, onclick) => make("button", { class: "icon", type: "button", "aria-label": label, title: label, onclick }, icon(path));
  return make(
    "li",
    {},
    make("a", { href: state.address(asState(search)), title: search.q, onclick: open }, face, make("span", { class: "name" }, search.name), count),
    act(ICONS.edit, S.rename(search.name), () => name(search.name, (text) => api.renameSearch(search.id, text))),
    act(ICONS.close, S.forget(search.name), () => change(api.forgetSearch(search.id))),
  );
}

async function ask(search) {
  const { like, ...rest } = asState(search);
  const answer = await api.search({ ...rest, examples: like.split(" ").filter(Boolean).map((each) => ({ like: each })), limit: 3, offset: 0 });
  found.set(search.id, answer);
  return answer;
}

function draw() {
  const blank = isBlank();
  list.hidden = !blank || searches.length === 0;
  list.replaceChildren(...(blank ? searches.map(card) : []));
  const kept = present();
  button.hidden = blank || state.examples().some((each) => each.key);
  button.setAttribute("aria-pressed", String(Boolean(kept)));
  button.lastChild.textContent = kept ? S.saved : S.save;
  button.title = kept ? S.forget(kept.name) : S.saveSearch;
}

export async function refresh() {
  try {
    searches = (await api.savedSearches()).searches;
    if (started) draw();
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
  await refresh();
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
