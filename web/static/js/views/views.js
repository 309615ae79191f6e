// What can be looked at instead of a search: the library and the duplicates. Which one stands in the address.

import { byId, icon, ICONS, make } from "../page/dom.js";
import * as results from "../grid/results.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

// Fetched when one is first looked at. Each has open(element, place, back), which fills the element, close(), where(), the place to
// come back to, and refine(state), which hears of changes of the address within the view.
const VIEWS = { library: () => import("./library.js"), duplicates: () => import("./duplicates.js") };
const KEEP = 400; // ms without scrolling before the place is kept

const main = byId("main");
const element = byId("view");
let shown = "";
let view = null; // the module of what is shown, once it is there
let keeping = null;

export const title = ({ view }) => (view ? S.views[view] : "");

// A link to a view.
export function way(view, ...content) {
  const to = { ...state.NOTHING, view };
  return make("a", {
    href: state.address(to),
    "data-view": view,
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      state.set(to);
    },
  }, ...content);
}

export function sync(now, how = null) {
  if (now.view === shown) {
    view?.refine?.(now);
    return;
  }
  view?.close();
  view = null;
  shown = now.view;
  main.classList.toggle("viewing", Boolean(shown));
  element.hidden = !shown;
  element.replaceChildren();
  for (const link of byId("ways").children) {
    if (link.dataset.view === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown) {
    results.leave();
    if (!how?.back) scrollTo({ top: 0, behavior: "instant" });
    open(shown, state.place(), how);
  }
}

async function open(name, place, how) {
  let found;
  try {
    found = await VIEWS[name]();
  } catch { // it could not be fetched, and a browser may remember that until the page is fetched anew
    if (shown === name) results.say(S.offlineAction, () => location.reload());
    return;
  }
  if (shown !== name || view) return; // another one was chosen meanwhile, or this one twice
  view = found;
  view.open(element, place, Boolean(how?.back));
  if (how && !element.contains(document.activeElement)) element.querySelector("h1").focus({ preventScroll: true });
}

export function start() {
  const ways = byId("ways");
  ways.setAttribute("aria-label", S.ways);
  ways.append(...Object.keys(VIEWS).map((view) => way(view, icon(ICONS[view]), make("span", {}, S.views[view]))));
  for (const link of ways.children) link.title = link.textContent;
  state.placeBy(() => view?.where());
  addEventListener("scroll", () => {
    if (!shown) return;
    clearTimeout(keeping);
    keeping = setTimeout(state.keepPlace, KEEP);
  }, { passive: true });
}
