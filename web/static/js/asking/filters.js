// Beside the grid: what the hits have in common, counted. A click narrows the search by it, another one takes it back.

import { onFacets } from "./answered.js";
import { FIRST, firstDay, following, LAST, shifted } from "../page/dates.js";
import { byId, fileName, icon, ICONS, make } from "../page/dom.js";
import { histogram } from "./histogram.js";
import * as query from "../page/query.js";
import { facetsAgain } from "../grid/results.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const OPEN = "sightline.filters";
const FACETS = ["tag", "folder", "camera", "is", "orientation", "type"];
const FEW = 6; // values shown of a facet before "more"
const DATES = ["after", "before", "on"];
const panel = byId("filters");
const toggle = byId("filter");
const TYPING = 800; // ms after which a day is taken for typed
const NARROW = 860; // px, up to which the panel stands above the grid: it opens when asked for
const whole = new Set(); // facets of which all values are shown

let moved = null; // bounds that were given while an answer was under way
let last = null; // the last answer with facets, and what it answers

const remembered = () => { try { return localStorage.getItem(OPEN) === "1"; } catch { return false; } };
const remember = (open) => { try { localStorage.setItem(OPEN, open ? "1" : ""); } catch { /* then it opens closed */ } };

function change(drop, filter) {
  const { answer, asked } = last;
  const rest = query.without(state.get().q, asked.q, answer.conditions, drop);
  state.set({ q: filter ? query.and(rest, filter) : rest });
}

// A moved `from` or `to` leaves the other; a day, month or year that was asked for alone gives way to both.
const between = (from, before) => change(
  (each) => DATES.includes(each.key) && !each.negative,
  [from && `after:${from}`, before && before <= LAST && `before:${before}`].filter(Boolean).join(" "),
);

function bounds(conditions) {
  const value = (key) => conditions.find((each) => each.key === key && !each.negative)?.value ?? "";
  const on = value("on");
  return { from: value("after") || on, before: value("before") || (on && following(on)) };
}

// While an answer is under way it is not known yet what the other bound is: the move waits for it.
function move(bound) {
  if (last && last.asked.q === state.get().q) {
    const { from, before } = { ...bounds(last.answer.conditions), ...bound };
    between(from, before);
  } else moved = { ...moved, ...bound };
}

// A day that is typed counts when someone is done with it: until then each digit makes another one.
function dateField(name, given, apply) {
  const input = make("input", { type: "date", value: given, min: FIRST, max: LAST, "data-key": name });
  let timer = null;
  const done = () => {
    clearTimeout(timer);
    const { value } = input;
    if (input.isConnected && value !== given && (value === "" ? !input.validity.badInput : value >= "1000")) apply(value);
  };
  input.addEventListener("change", () => { clearTimeout(timer); timer = setTimeout(done, TYPING); });
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") done(); else clearTimeout(timer); });
  input.addEventListener("blur", done);
  return make("label", {}, make("span", {}, name), input);
}

function dates({ conditions, facets }) {
  const { from, before } = bounds(conditions);
  const end = before && firstDay(before);
  const fields = [
    dateField(S.from, from && firstDay(from), (day) => move({ from: day })),
    dateField(S.to, end && shifted(end, -1), (day) => move({ before: day && shifted(day, 1) })),
  ];
  const drawn = facets.dates.counts.length > 0;
  return make(
    "section",
    {},
    make("h3", {}, S.dates),
    drawn ? histogram(facets.dates, between) : null,
    facets.dates.undated ? make("p", { class: "said" }, S.undated(facets.dates.undated)) : null,
    drawn || from || before ? make("div", { class: "range" }, ...fields) : null,
  );
}

function facet(key, values, conditions) {
  const text = (value) => value.filter.slice(key.length + 1).replaceAll('"', "");
  const active = conditions.filter((each) => each.key === key && !each.negative);
  // What was chosen stays here to be taken back, also where the values are now those inside it.
  const chosen = active.filter((each) => !values.some((value) => query.isFilter(each, key, text(value))));
  if (values.length < 2 && !active.length) return null;
  const named = (value) => (key === "folder" ? fileName(value.replace(/[\\/]+$/, "")) : key === "is" ? S.kindOf(value) : key === "orientation" ? S.orientationOf(value) : value);
  const item = (name, title, photos, pressed, onclick) => make("li", {}, make(
    "button",
    { type: "button", "aria-pressed": String(pressed), title, "data-key": `${key}:${title}`, onclick },
    make("span", { class: "name" }, name),
    make("span", { class: "number" }, photos),
  ));
  const shown = whole.has(key) ? values : values.slice(0, FEW);
  const items = [
    ...chosen.map((each) => item(named(each.value), each.value, "", true, () => change((other) => other === each))),
    ...shown.map((value) => {
      const pressed = active.some((each) => query.isFilter(each, key, text(value)));
      const onclick = () => (pressed ? change((each) => query.isFilter(each, key, text(value))) : change(() => false, value.filter));
      return item(named(value.name), text(value), S.number(value.photos), pressed, onclick);
    }),
  ];
  const more = values.length > FEW
    ? make("button", { class: "more", type: "button", "data-key": `more ${key}`, onclick: () => { whole.has(key) ? whole.delete(key) : whole.add(key); draw(); } }, whole.has(key) ? S.fewer : S.allOf(values.length))
    : null;
  return make("section", { "data-facet": key }, make("h3", { tabindex: "-1" }, S.facets[key]), make("ul", {}, ...items), more);
}

// Whoever goes through the panel by the keyboard stays at what they pressed when it is drawn anew.
function draw() {
  if (panel.hidden) return;
  if (!last) return panel.replaceChildren();
  const { answer } = last;
  const focused = panel.contains(document.activeElement) ? document.activeElement : null;
  const [key, section] = [focused?.dataset.key, focused?.closest("[data-facet]")?.dataset.facet];
  panel.replaceChildren(
    make("div", { class: "head" }, make("h2", {}, S.filter), make("button", { class: "icon", type: "button", "data-key": "close", "aria-label": S.close, title: S.close, onclick: flip }, icon(ICONS.close))),
    dates(answer),
    ...FACETS.map((each) => facet(each, answer.facets[each], answer.conditions)).filter(Boolean),
  );
  if (!focused) return;
  const same = [...panel.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key);
  (same ?? panel.querySelector(section ? `[data-facet="${section}"] h3` : "button") ?? panel.querySelector("button")).focus();
}

function flip() {
  panel.hidden = !panel.hidden;
  remember(!panel.hidden);
  toggle.setAttribute("aria-expanded", String(!panel.hidden));
  if (panel.hidden) toggle.focus();
  else facetsAgain();
}

export function start() {
  panel.hidden = !remembered() || innerWidth <= NARROW;
  panel.setAttribute("aria-label", S.filter);
  toggle.append(S.filter);
  toggle.setAttribute("aria-expanded", String(!panel.hidden));
  toggle.addEventListener("click", flip);
  onFacets((answer, asked) => {
    last = answer?.facets ? { answer, asked } : null;
    draw();
    const bound = moved;
    moved = null;
    if (bound && last) move(bound);
  });
}
