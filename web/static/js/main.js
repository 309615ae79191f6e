// Wires the parts of the page together: what is typed and chosen goes into the state, the state drives the rest.

import * as box from "./box.js";
import * as conditions from "./conditions.js";
import { byId, make } from "./dom.js";
import * as examples from "./examples.js";
import * as filters from "./filters.js";
import * as results from "./results.js";
import * as saved from "./saved.js";
import * as selectbar from "./selectbar.js";
import * as selecting from "./selecting.js";
import * as state from "./state.js";
import * as status from "./status.js";
import { S } from "./strings.js";
import * as suggest from "./suggest.js";
import * as viewer from "./viewer.js";

const selects = { mode: byId("mode"), sort: byId("sort") };
const collapse = byId("collapse");

function words() {
  byId("mode-label").textContent = S.mode;
  byId("sort-label").textContent = S.sort;
  byId("collapse-label").textContent = S.collapse;
  const options = (table, first) => Object.entries(table).map(([value, text]) => make("option", { value: value === first ? "" : value }, text));
  selects.mode.append(...options(S.modes, "auto"));
  selects.sort.append(...options(S.sorts, "relevance"));
  byId("ideas").append(
    make("span", {}, S.tryThese),
    ...S.ideas.map((q) => make("a", {
      href: state.address({ q, photo: "" }),
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        state.set({ q, photo: "" });
      },
    }, q)),
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
}

function draw(now) {
  box.draw(now);
  for (const [key, select] of Object.entries(selects)) select.value = now[key];
  collapse.checked = !now.apart;
  document.title = now.q ? `${now.q} – Sightline` : "Sightline";
  examples.draw();
}

async function search() {
  await results.run();
  byId("main").classList.remove("waiting");
  viewer.refresh();
}

state.onChange((now, before, how) => {
  const asksAnew = !state.sameSearch(now, before);
  if (how.back || asksAnew) box.leave(how);
  draw(now);
  if (asksAnew) search();
  if (now.photo !== before.photo) viewer.sync();
});

words();
listen();
for (const part of [box, suggest, conditions, examples, filters, saved, selecting, selectbar, viewer]) part.start();
draw(state.get());
viewer.sync();
// What stands above the grid comes first, so that it moves nothing; but no search waits long for it.
await Promise.race([saved.refresh(), new Promise((resolve) => setTimeout(resolve, 300))]);
search();
status.start(() => {
  saved.refresh();
  // New photos show by themselves only where nothing is being read: at the top of the list of the newest.
  if (results.isBlank() && scrollY < 50 && !state.get().photo) search();
});
if (matchMedia("(hover: hover)").matches && !state.get().photo) byId("q").focus({ preventScroll: true });
