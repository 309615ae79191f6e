// Wires the parts of the page together: what is typed and chosen goes into the state, the state drives the rest.

import { byId, make } from "./dom.js";
import * as picture from "./picture.js";
import * as results from "./results.js";
import * as state from "./state.js";
import * as status from "./status.js";
import { S } from "./strings.js";
import * as viewer from "./viewer.js";

const TYPING_PAUSE = 160; // ms; below it every key would be a search, above it the page feels late
const box = byId("q");
const clear = byId("clear");
const selects = { mode: byId("mode"), sort: byId("sort") };
const collapse = byId("collapse");

let timer = null;
let typing = false; // the present history entry was made by typing, and further typing refines it

function words() {
  box.placeholder = S.placeholder;
  box.setAttribute("aria-label", S.boxLabel);
  for (const [id, text] of [["choose", S.choosePicture], ["clear", S.clearText]]) {
    byId(id).title = text;
    byId(id).setAttribute("aria-label", text);
  }
  byId("drop-text").textContent = S.dropHere;
  byId("mode-label").textContent = S.mode;
  byId("sort-label").textContent = S.sort;
  byId("collapse-label").textContent = S.collapse;
  const options = (table, first) => Object.entries(table).map(([value, text]) => make("option", { value: value === first ? "" : value }, text));
  selects.mode.append(...options(S.modes, "auto"));
  selects.sort.append(...options(S.sorts, "relevance"));
  byId("suggestions").append(
    make("span", {}, S.tryThese),
    ...S.suggestions.map((q) => make("a", {
      href: state.address({ q, photo: "" }),
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        state.set({ q, photo: "" });
      },
    }, q)),
  );
}

function commitTyped() {
  clearTimeout(timer);
  timer = null;
  if (box.value === state.get().q) return;
  state.set({ q: box.value, all: "" }, { replace: typing });
  typing = true;
}

function listen() {
  box.addEventListener("input", () => {
    clear.hidden = !box.value;
    clearTimeout(timer);
    timer = setTimeout(commitTyped, TYPING_PAUSE);
  });
  box.addEventListener("blur", () => { commitTyped(); typing = false; });
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    commitTyped();
    typing = false;
  });
  clear.addEventListener("click", () => {
    box.value = "";
    commitTyped();
    clear.hidden = true;
    box.focus();
  });
  byId("brand").addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    state.set({ q: "", mode: "", sort: "", all: "", apart: "", like: "", photo: "", picture: null });
    scrollTo({ top: 0 });
    box.focus();
  });
  for (const [key, select] of Object.entries(selects)) {
    select.addEventListener("change", () => state.set({ [key]: select.value, all: "" }));
  }
  collapse.addEventListener("change", () => state.set({ apart: collapse.checked ? "" : "1" }));
  addEventListener("keydown", (event) => {
    const elsewhere = !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !state.get().photo;
    if (event.key === "/" && elsewhere && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      box.focus();
      box.select();
    }
  });
}

function draw(now) {
  // Never while someone types: the state is then behind the box, not ahead of it.
  if (timer === null && box.value !== now.q) box.value = now.q;
  clear.hidden = !box.value;
  for (const [key, select] of Object.entries(selects)) select.value = now[key];
  collapse.checked = !now.apart;
  document.title = now.q ? `${now.q} – Sightline` : "Sightline";
  picture.drawChips();
}

async function search() {
  await results.run();
  viewer.refresh();
}

state.onChange((now, before) => {
  draw(now);
  if (!state.sameSearch(now, before)) {
    if (!document.activeElement?.isSameNode(box)) typing = false;
    search();
  }
  if (now.photo !== before.photo) viewer.sync();
});

words();
listen();
picture.start();
viewer.start();
draw(state.get());
viewer.sync();
search();
// New photos show by themselves only where nothing is being read: at the top of the list of the newest.
status.start(() => { if (results.isBlank() && scrollY < 50 && !state.get().photo) search(); });
if (matchMedia("(hover: hover)").matches && !state.get().photo) box.focus({ preventScroll: true });
