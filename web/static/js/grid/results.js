// Asking and showing: one search at a time; a newer search silences an older one.

import { answered, counted } from "../asking/answered.js";
import * as api from "../page/api.js";
import { Blocks, SIZE } from "./blocks.js";
import { byId, icon, ICONS, make } from "../page/dom.js";
import * as events from "../page/events.js";
import * as grid from "./grid.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";
import * as walk from "./walk.js";

const bar = byId("bar");
const count = byId("count");
const notice = byId("notice");
const empty = byId("empty");
const end = byId("end");
const ideas = byId("ideas");

grid.start();
walk.start(byId("grid"));

let blocks = null; // the hits of the present answer
let running = null; // the AbortController of the search under way
let begun = false; // something was asked for already
let sayings = 0; // notices that were given
let failed = false; // the last search got no answer: worth asking again once the server is back
let offered = ""; // what stands at the end

export const total = () => blocks?.total ?? 0;
// Where among the hits the photo is, itself or behind another of its moment; -1: nowhere, as far as is known.
export const placeOf = (id) => blocks?.placeOf(id) ?? -1;
// The hit that the photo is, or stands behind.
export const leaderOf = (id) => blocks?.hit(placeOf(id)) ?? null;

export function hitOf(id) {
  const leader = leaderOf(id);
  return leader?.id === id ? leader : null;
}

// The hit before (-1) or after (1) the photo, asked for if need be; null at the ends. Fails as a search does.
export async function neighbour(id, by) {
  const of = blocks;
  const place = placeOf(id);
  const next = place < 0 ? -1 : await of.beside(place, by);
  return next < 0 ? null : of.hit(next);
}

const asked = (offset, listing) => ({ ...state.get(), examples: state.examples(), limit: SIZE, offset, listing });

export function isBlank(now = state.get()) {
  return !now.q.trim() && !state.examples(now).length;
}

export async function run() {
  running?.abort();
  blocks?.want([]);
  // An answer takes back what was said before it was asked for; what is said meanwhile, or before the first, is of something else.
  const heard = begun ? sayings : -1;
  begun = true;
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
    const at = state.place();
    let block = Math.floor((at?.place ?? 0) / SIZE);
    const what = { ...asked(block * SIZE, null), facets: !byId("filters").hidden };
    let answer = await api.search(what, controller.signal);
    const last = Math.max(0, Math.ceil(answer.total / SIZE) - 1);
    if (block > last) { // fewer hits than when one was there
      block = last;
      answer = await api.search({ ...what, offset: block * SIZE, listing: answer.listing }, controller.signal);
    }
    blocks?.stop();
    blocks = hitsOf(block, answer);
    failed = false;
    if (sayings === heard) clearNotice();
    draw(answer, at);
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
      if (error.offline) events.doubt();
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
  if (running) return run(); // which asks for them, by now
  if (!blocks) return;
  const controller = (running = new AbortController());
  const what = { ...asked(0, blocks.listing), limit: 1, facets: true };
  try {
    counted(await api.search(what, controller.signal), what);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    if (running === controller) running = null;
  }
}

// Further blocks are of the search that this answer is of, whatever is asked for meanwhile.
function hitsOf(number, first) {
  const fixed = asked(0, null);
  return new Blocks({
    ask: (offset, listing, signal) => api.search({ ...fixed, offset, listing }, signal),
    first,
    number,
    came: (each) => { grid.came(each); drawEnd(); },
    resized: grid.relayout,
    failed: (error) => say(error.message, goOn),
  });
}

function goOn() {
  clearNotice();
  blocks?.resume();
}

// Ask once more if the last answer was an error.
export function recover() {
  if (running) return;
  if (failed) run();
  else if (blocks?.halted) goOn();
}

function draw(answer, at) {
  const blank = isBlank();
  const { total } = answer;
  empty.hidden = total > 0;
  bar.hidden = total === 0 && blank;
  ideas.hidden = !(blank && total > 0);
  byId("mode").parentElement.hidden = blank || !state.get().q.trim();
  byId("sort").parentElement.hidden = blank;
  byId("collapse").parentElement.hidden = blank;
  count.replaceChildren(
    ...(blank ? [S.library(total)] : [make("strong", {}, S.found(total)), `${S.behind(answer.collapsed)} · ${S.took(answer.took_ms)}`]),
  );
  if (total === 0) {
    empty.replaceChildren(
      icon(blank ? ICONS.photos : ICONS.search),
      make("h2", {}, blank ? S.noPhotos : S.noHits),
      make("p", {}, blank ? S.noPhotosHint : S.noHitsHint),
      ...(blank ? [make("code", {}, S.noIndexCommand)] : offerLess()),
    );
  }
  offered = "";
  end.replaceChildren();
  grid.show(blocks, at);
  drawEnd();
}

function drawEnd() {
  const shown = grid.reach();
  const now = total() === 0 ? "" : `${state.get().all} ${blocks.anyLess} ${blocks.leftOut > 0} ${shown}`;
  if (now === offered) return;
  offered = now;
  end.replaceChildren(...(now === "" ? [] : shown < total() ? [S.gridEnds(shown)] : offerLess()));
}

function offerLess() {
  const button = (text, all) => [make("button", { class: "button", type: "button", onclick: () => state.set({ all }) }, text)];
  if (state.get().all) return blocks.anyLess ? button(S.showFitting, "") : [];
  return blocks.leftOut > 0 ? button(S.showLess, "1") : [];
}

function showNothing() {
  blocks?.stop();
  blocks = null;
  grid.clear();
  offered = "";
  end.replaceChildren();
  empty.hidden = true;
  ideas.hidden = true;
  answered(null);
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

// Another view takes its place; nothing is asked for meanwhile.
export function leave() {
  running?.abort();
  running = null;
  failed = false;
  showNothing();
  clearNotice();
}

export function say(message, again = null) {
  sayings += 1;
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
