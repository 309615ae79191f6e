// Asking and showing: one search at a time, page after page; a newer search silences an older one.

import { answered } from "./answered.js";
import * as api from "./api.js";
import { byId, icon, ICONS, make } from "./dom.js";
import * as grid from "./grid.js";
import * as state from "./state.js";
import { S } from "./strings.js";

const PAGE = 60;
const bar = byId("bar");
const count = byId("count");
const notice = byId("notice");
const empty = byId("empty");
const end = byId("end");
const ideas = byId("ideas");

let hits = [];
let total = 0;
let leftOut = 0; // how many more were found that fit less
let passed = 0; // how many places of the ranking were asked for: a hit may leave the index between two pages
let listing = null; // of which answer further pages are asked, so that they fit to the first
let running = null; // the AbortController of the request under way
let failed = false; // the last request got no answer: worth asking again once the server is back
let stopped = false; // the last page failed: do not ask again by scrolling

export const shownHits = () => hits;
export const hitOf = (id) => hits.find((hit) => hit.id === id) ?? null;
// Where among the hits the photo is, itself or behind another of its moment; -1: nowhere.
export const placeOf = (id) => hits.findIndex((hit) => hit.id === id || hit.others.includes(id));

function asked(offset, listing) {
  const now = state.get();
  return { ...now, examples: state.examples(), limit: PAGE, offset, listing };
}

export function isBlank(now = state.get()) {
  return !now.q.trim() && !state.examples(now).length;
}

export async function run() {
  running?.abort();
  if (state.examples().some(({ key, file }) => key && !file)) {
    showNothing();
    count.textContent = "";
    say(S.pictureLost);
    return;
  }
  const controller = (running = new AbortController());
  grid.markStale();
  // Said only when it takes long enough to wonder.
  const patience = setTimeout(() => { count.textContent = S.searching; }, 400);
  try {
    const what = { ...asked(0, null), facets: !byId("filters").hidden };
    const answer = await api.search(what, controller.signal);
    hits = answer.hits;
    total = answer.total;
    leftOut = answer.left_out;
    passed = PAGE;
    listing = answer.listing;
    failed = stopped = false;
    clearNotice();
    draw(answer);
    answered(answer, what);
  } catch (error) {
    if (error.name === "AbortError") return;
    failed = true;
    grid.unmarkStale();
    if (error.noIndex) showNoIndex();
    else {
      // While a filter is being typed its value cannot be right yet: the last answer stays until it is.
      if (!error.offline && error.status !== 400) showNothing();
      count.textContent = "";
      // Asking the same again helps only where the fault was not in the question.
      say(error.message, error.offline || error.status >= 500 ? run : null);
    }
  } finally {
    clearTimeout(patience);
    if (running === controller) running = null;
  }
}

// What the present hits have in common, where that was not asked for with them.
export async function facetsAgain() {
  if (running || failed) return;
  const what = { ...asked(0, listing), limit: 1, facets: true };
  try {
    answered(await api.search(what), what);
  } catch (error) {
    say(error.message);
  }
}

// Ask once more if the last answer was an error, or if there was nothing yet to show.
export function recover() {
  if (!running && (failed || stopped)) {
    if (failed) run();
    else { stopped = false; clearNotice(); more(); }
  }
}

async function more() {
  if (running || stopped || passed >= total || hits.length === 0) return;
  const controller = (running = new AbortController());
  try {
    const answer = await api.search(asked(passed, listing), controller.signal);
    const known = new Set(hits.map((hit) => hit.id));
    const fresh = answer.hits.filter((hit) => !known.has(hit.id));
    total = answer.total;
    passed += PAGE;
    listing = answer.listing;
    hits = [...hits, ...fresh];
    grid.add(fresh);
    drawEnd();
  } catch (error) {
    if (error.name === "AbortError") return;
    stopped = true;
    say(error.message, () => { stopped = false; clearNotice(); more(); });
  } finally {
    if (running === controller) running = null;
  }
  if (!stopped && nearEnd()) more();
}

const nearEnd = () => end.getBoundingClientRect().top < innerHeight + 900;
new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) more(); }, { rootMargin: "900px" }).observe(end);

function draw(answer) {
  const blank = isBlank();
  empty.hidden = hits.length > 0;
  bar.hidden = total === 0 && blank;
  ideas.hidden = !(blank && total > 0);
  byId("mode").parentElement.hidden = blank || !state.get().q.trim();
  byId("sort").parentElement.hidden = blank;
  byId("collapse").parentElement.hidden = blank;
  count.replaceChildren(
    ...(blank ? [S.library(total)] : [make("strong", {}, S.found(total)), `${S.behind(answer.collapsed)} · ${S.took(answer.took_ms)}`]),
  );
  grid.show(hits);
  drawEnd();
  if (hits.length === 0) {
    empty.replaceChildren(
      icon(blank ? ICONS.photos : ICONS.search),
      make("h2", {}, blank ? S.noPhotos : S.noHits),
      make("p", {}, blank ? S.noPhotosHint : S.noHitsHint),
      ...(blank ? [make("code", {}, S.noIndexCommand)] : offerLess()),
    );
  }
}

function drawEnd() {
  // Scrolling loads what follows; the button is for those who do not scroll.
  const offer = make("button", { class: "button", type: "button", onclick: more }, S.loadMore);
  end.replaceChildren(...(passed < total ? [offer] : hits.length > 0 ? offerLess() : []));
}

function offerLess() {
  const button = (text, all) => [make("button", { class: "button", type: "button", onclick: () => state.set({ all }) }, text)];
  if (state.get().all) return hits.some((hit) => !hit.relevant) ? button(S.showFitting, "") : [];
  return leftOut > 0 ? button(S.showLess, "1") : [];
}

function showNothing() {
  hits = [];
  total = leftOut = 0;
  grid.show([]);
  end.replaceChildren();
  empty.hidden = true;
  ideas.hidden = true;
}

function showNoIndex() {
  showNothing();
  clearNotice();
  bar.hidden = true;
  empty.hidden = false;
  empty.replaceChildren(
    icon(ICONS.photos),
    make("h2", {}, S.noIndex),
    make("p", {}, S.noIndexHint),
    make("code", {}, S.noIndexCommand),
    make("p", {}, S.noIndexThen),
  );
}

export function say(message, again = null) {
  notice.hidden = false;
  notice.replaceChildren(
    make("span", {}, message),
    ...(again ? [make("button", { class: "button", type: "button", onclick: again }, S.retry)] : []),
  );
}

export function clearNotice() {
  notice.hidden = true;
  notice.replaceChildren();
}
