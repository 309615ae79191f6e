// The library by date: a card for each month, or for each day where the library spans some weeks. One request tells of the whole
// library; the months of a year, and the faces of a month, are asked for when they come into view.

import * as api from "../page/api.js";
import { byId, make, ornament } from "../page/dom.js";
import { howToIndex } from "./how-to-index.js";
import * as events from "../page/events.js";
import { dayName, formatPeriod, monthName } from "../page/formats.js";
import { WITHOUT_DATE } from "../page/query.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const FACES = 3;
const NEAR = "500px"; // around the window, in which is asked for
const CALM = 15000; // ms between two questions while the library grows
const RETRY = 5000; // ms after which is asked again where the server is there and refuses
const RAIL = 3; // sections from which on there is a way to each

let element = null;
let sections = []; // { on, photos, parts: [{ on, photos }] or null while they are not known }, newest first
let undated = 0;
const known = new Map(); // answers by query, of this state of the library
let of = ""; // that state
const stalled = new Set(); // those that got no answer
let asking = null; // the AbortController of the request under way
let waiting = []; // elements that are in view and whose `ask` was not called yet
let place = null; // to go to, once it is there
let again = null;
let retrying = null; // the timer of those that got no answer
let followed = ""; // the address of the link by which one left
let failed = false; // the whole library got no answer
let asked = 0; // when the whole library was last asked for

const inView = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    waiting = waiting.filter((each) => each !== target);
    if (isIntersecting) waiting.push(target);
  }
  askOn();
}, { rootMargin: NEAR });

// One after the other: what someone types meanwhile should not wait for them.
async function askOn() {
  if (asking || !waiting.length || !element) return;
  const target = waiting.shift();
  const controller = (asking = new AbortController());
  try {
    await target.ask(controller.signal);
    inView.unobserve(target);
  } catch (error) {
    if (asking !== controller) return;
    stalled.add(target);
    if (!error.offline && !error.noIndex) retrying ??= setTimeout(unstall, RETRY);
  }
  if (asking !== controller) return;
  asking = null;
  askOn();
}

function unstall() {
  clearTimeout(retrying);
  retrying = null;
  waiting.push(...stalled);
  stalled.clear();
  askOn();
}

async function search(q, limit, facets, signal) {
  const key = `${limit} ${q}`;
  if (known.has(key)) return known.get(key);
  const before = of;
  const answer = await api.search({ q, apart: "1", limit, offset: 0, facets }, signal);
  if (of === before) known.set(key, answer); // else it may be of the state before
  return answer;
}

// The counts of longer periods: `length` characters of a day or a month are a month or a year.
function gathered(counts, length) {
  const found = new Map();
  for (const { on, photos } of counts) found.set(on.slice(0, length), (found.get(on.slice(0, length)) ?? 0) + photos);
  return [...found].map(([on, photos]) => ({ on, photos })).reverse();
}

function sectionsOf({ unit, counts }) {
  if (unit === "year") return [...counts].reverse().map((each) => ({ ...each, parts: null }));
  const length = unit === "day" ? 7 : 4;
  const parts = gathered(counts, 10);
  return gathered(counts, length).map((each) => ({ ...each, parts: parts.filter(({ on }) => on.startsWith(each.on)) }));
}

function link(q, properties, ...content) {
  const to = { ...state.NOTHING, q };
  return make("a", {
    ...properties,
    href: state.address(to),
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      followed = event.currentTarget.href;
      state.set(to);
      scrollTo({ top: 0, behavior: "instant" });
    },
  }, ...content);
}

// Brings the children of `parent` in line with `items`, each known by its `on`, and leaves in place what stands right.
function keep(parent, items, create, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.on, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const child = before.get(item.on) ?? create(item);
    before.delete(item.on);
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of before.values()) {
    inView.unobserve(child);
    child.remove();
  }
}

// A period with its first photos.
function createCard({ on, q, name, label }) {
  const face = make("span", { class: "face" });
  const count = make("span", { class: "number" });
  const card = make("li", { "data-on": on }, link(q ?? `on:${on}`, { class: "period" }, face, make("span", { class: "name", title: label }, name), count));
  card.update = ({ photos }) => {
    if (card.photos === photos) return;
    card.photos = photos;
    count.textContent = S.number(photos);
    card.firstChild.setAttribute("aria-label", S.periodWith(label, photos));
    inView.observe(card);
  };
  card.ask = async (signal) => {
    const { hits } = await search(q ?? `on:${on}`, FACES, false, signal);
    face.replaceChildren(...hits.map((hit) => ornament(api.thumbUrl(hit.id))));
  };
  return card;
}

const partOf = ({ on, photos }) => ({ on, photos, label: formatPeriod(on, { long: true }), name: on.length > 7 ? dayName(on) : monthName(on) });

function createSection({ on, undated: without }) {
  const count = make("span", { class: "soft" });
  const name = without ? S.withoutDate : formatPeriod(on, { long: true });
  const list = make("ul", { class: "periods" });
  const title = link(without ? WITHOUT_DATE : `on:${on}`, {}, name);
  const section = make("section", { "data-on": on, "aria-label": name }, make("h2", {}, title, count), list);
  section.update = (next) => {
    count.textContent = S.found(next.photos);
    if (next.parts) keep(list, next.parts, createCard, (card, part) => card.update(part));
    else if (section.photos !== next.photos) inView.observe(section);
    section.photos = next.photos;
  };
  section.ask = async (signal) => {
    const { facets } = await search(`on:${on}`, 1, true, signal);
    const parts = gathered(facets.dates.counts, 7).map(partOf);
    section.classList.remove("unknown");
    keep(list, parts, createCard, (card, part) => card.update(part));
    comeBack();
  };
  section.classList.toggle("unknown", !without);
  return section;
}

function rail() {
  const most = Math.max(...sections.map((each) => each.photos));
  const items = [...sections].reverse().map(({ on, photos }) => {
    const bar = make("i");
    bar.style.height = `${Math.max(3, Math.round((38 * photos) / most))}px`;
    const short = on.length > 4 ? monthName(on, { short: true }) : on;
    return make("button", { type: "button", "data-on": on, "aria-label": S.periodWith(formatPeriod(on, { long: true }), photos), onclick: () => goTo(on) }, make("span", {}, bar), short);
  });
  return items;
}

function goTo(on) {
  const section = [...element.querySelectorAll(".dated > section")].find((each) => each.dataset.on === on);
  section?.scrollIntoView({ block: "start" });
  section?.querySelector("a").focus({ preventScroll: true });
}

// To the link by which one left, unless one has gone elsewhere since.
function comeBack() {
  const link = followed && [...element.querySelectorAll("a")].find((each) => each.href === followed);
  if (!link || !(document.activeElement === document.body || document.activeElement.matches(".library h1"))) return;
  link.focus({ preventScroll: true });
  followed = "";
}

function draw() {
  const items = sections.map((each) => ({ ...each, parts: each.parts?.map(partOf) ?? null }));
  const all = undated ? [...items, { on: "", photos: undated, undated: true, parts: [{ on: "", q: WITHOUT_DATE, name: S.withoutDate, label: S.withoutDate, photos: undated }] }] : items;
  const [nav, dated] = element.children;
  nav.hidden = sections.length < RAIL;
  if (!nav.contains(document.activeElement)) nav.replaceChildren(...rail());
  keep(dated, all, createSection, (section, next) => {
    if (next.parts) section.classList.remove("unknown");
    section.update(next);
  });
  // Ends of dates beyond years: it is hardly of use to say more.
  byId("library-total").textContent = all.length ? S.libraryTotal(sections.reduce((sum, each) => sum + each.photos, undated), sections.length ? [sections.at(-1).on, sections[0].on].map((on) => formatPeriod(on, { long: true })) : []) : "";
  if (place) {
    const section = [...dated.children].find((each) => each.dataset.on === place.on);
    if (section) scrollTo({ top: Math.round(section.getBoundingClientRect().top + scrollY - place.offset), behavior: "instant" });
    place = null;
  }
  comeBack();
}

const say = (...content) => element.children[1].replaceChildren(make("div", { class: "said" }, ...content));

async function refresh() {
  clearTimeout(again);
  again = null;
  if (!element) return;
  asked = Date.now();
  try {
    const { facets } = await search("", 1, true);
    failed = false;
    if (!element) return;
    sections = sectionsOf(facets.dates);
    ({ undated } = facets.dates);
    if (facets.photos) draw();
    else say(...howToIndex(S.noPhotos, S.noPhotosHint));
  } catch (error) {
    failed = true;
    if (!element) return;
    if (!error.offline && !error.noIndex) again ??= setTimeout(refresh, RETRY);
    if (sections.length) return;
    if (error.noIndex) say(...howToIndex(S.noIndex, S.noIndexHint));
    else if (element.querySelector("[role=alert]")?.textContent !== error.message) say(make("p", { role: "alert" }, error.message), make("button", { class: "button", type: "button", onclick: refresh }, S.retry));
  }
}

// Another state of the library: its counts at once, and then now and then while it goes on changing.
function changed(status) {
  const now = `${status.photos} ${status.generation} ${status.revision}`;
  if (!element || now === of) return;
  const first = of === "";
  of = now;
  if (first) return; // what was asked for when the view was opened is of this state
  known.clear();
  if (status.job === null) clearTimeout(again);
  else if (again) return;
  again = setTimeout(refresh, status.job === null ? 0 : Math.max(0, asked + CALM - Date.now()));
}

// back: one was here before, and comes back.
export function open(parent, at, back) {
  element = parent;
  parent.append(make("nav", { class: "rail", "aria-label": S.jumpTo, hidden: true }), make("div", { class: "dated" }));
  place = at;
  if (!back) followed = "";
  if (sections.length) draw();
  const status = events.last("status");
  if (status) changed(status);
  // Even where events are not to be had.
  if (!again) again = setTimeout(refresh, 0);
}

export function close() {
  element = null;
  inView.disconnect();
  waiting = [];
  stalled.clear();
  asking?.abort();
  asking = null;
  clearTimeout(again);
  again = null;
  clearTimeout(retrying);
  retrying = null;
}

export function where() {
  const top = byId("main").offsetTop;
  const section = [...(element?.querySelectorAll(".dated > section") ?? [])].find((each) => each.getBoundingClientRect().bottom > top);
  if (!section || scrollY <= 0) return element ? null : undefined;
  return { on: section.dataset.on, offset: Math.round(section.getBoundingClientRect().top) };
}

events.on("status", changed);
// The server is there again, or an index.
events.on("opened", () => {
  if (failed) refresh();
  unstall();
});
