// Wires the parts of the page together: what is typed and chosen goes into the state, the state drives the rest.

import * as box from "./asking/box.js";
import * as conditions from "./asking/conditions.js";
import { byId, make } from "./page/dom.js";
import * as examples from "./asking/examples.js";
import * as filters from "./asking/filters.js";
import * as keys from "./keys.js";
import * as results from "./grid/results.js";
import * as saved from "./asking/saved.js";
import * as selectbar from "./grid/selectbar.js";
import * as selecting from "./grid/selecting.js";
import * as state from "./page/state.js";
import * as status from "./status.js";
import { S } from "./page/strings.js";
import * as suggest from "./asking/suggest.js";
import * as viewer from "./viewer/viewer.js";
import * as views from "./views/views.js";

const selects = { mode: byId("mode"), sort: byId("sort") };
const collapse = byId("collapse");

function words() {
  byId("heading").textContent = S.heading;
  byId("mode-label").textContent = S.mode;
  byId("sort-label").textContent = S.sort;
  byId("collapse-label").textContent = S.collapse;
  const options = (table, first) => Object.entries(table).map(([value, text]) => make("option", { value: value === first ? "" : value }, text));
  selects.mode.append(...options(S.modes, "auto"));
  selects.sort.append(...options(S.sorts, "relevance"));
  byId("ideas").append(
    make("span", {}, S.tryThese),
    ...S.ideas.map(([said, q]) => make("a", {
      href: state.address({ q, photo: "" }),
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        state.set({ q, photo: "" });
      },
    }, said)),
  );
}

function listen() {
  byId("brand").addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    state.set({ ...state.NOTHING });
    scrollTo({ top: 0 });
    byId("q").focus();
  });
  for (const [key, select] of Object.entries(selects)) {
    select.addEventListener("change", () => state.set({ [key]: select.value, all: "" }));
  }
  collapse.addEventListener("change", () => state.set({ apart: collapse.checked ? "" : "1" }));
  addEventListener("keydown", (event) => {
    const elsewhere = !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !state.get().photo;
    if (event.key === "/" && elsewhere && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      byId("q").focus();
      byId("q").select();
    }
  });
  keys.start();
}

function draw(now) {
  box.draw(now);
  for (const [key, select] of Object.entries(selects)) select.value = now[key];
  collapse.checked = !now.apart;
  const title = views.title(now) || now.q;
  document.title = title ? `${title} – Sightline` : "Sightline";
  examples.draw();
}

async function search() {
  await results.run();
  byId("main").classList.remove("waiting");
}

state.onChange((now, before, how) => {
  const asksAnew = !now.view && (before.view || !state.sameSearch(now, before));
  if (how.back || asksAnew) box.leave(how);
  draw(now);
  views.sync(now, how);
  if (asksAnew) search();
  if (now.photo !== before.photo) viewer.sync();
});

words();
listen();
for (const part of [box, suggest, conditions, examples, filters, saved, selecting, selectbar, viewer, views]) part.start();
draw(state.get());
views.sync(state.get());
viewer.sync();
// What stands above the grid comes first, so that it moves nothing; but no search waits long for it.
await Promise.race([saved.refresh(), new Promise((resolve) => setTimeout(resolve, 300))]);
if (!state.get().view) search();
status.start(() => {
  saved.refresh();
  // New photos show by themselves only where nothing is being read: at the top of the list of the newest.
  if (results.isBlank() && !state.get().view && scrollY < 50 && !state.get().photo) search();
});
if (matchMedia("(hover: hover)").matches && !state.get().photo && !state.get().view) byId("q").focus({ preventScroll: true });
