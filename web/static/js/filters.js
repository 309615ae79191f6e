// Beside the grid: what the hits have in common, counted. A click narrows the search by it, another one takes it back.

import { onAnswer } from "./answered.js";
import { firstDay, following, shifted } from "./dates.js";
import { byId, icon, ICONS, make } from "./dom.js";
import { histogram } from "./histogram.js";
import * as query from "./query.js";
import { facetsAgain } from "./results.js";
import * as state from "./state.js";
import { S } from "./strings.js";

const OPEN = "sightline.filters";
const FACETS = ["tag", "folder", "camera", "is", "orientation", "type"];
const FEW = 6; // values shown of a facet before "more"
const DATES = ["after", "before", "on"];
const panel = byId("filters");
const toggle = byId("filter");
const whole = new Set(); // facets of which all values are shown

let last = null; // the last answer with facets, and what it answers

const remembered = () => { try { return localStorage.getItem(OPEN) === "1"; } catch { return false; } };
const remember = (open) => { try { localStorage.setItem(OPEN, open ? "1" : ""); } catch { /* then it opens closed */ } };

function change(drop, filter) {
  const { answer, asked } = last;
  const rest = query.without(asked.q, answer.conditions, drop);
  state.set({ q: filter ? query.and(rest, filter) : rest, all: "" });
}

// A moved `from` or `to` leaves the other; a day, month or year that was asked for alone gives way to both.
const between = (from, before) => change((each) => DATES.includes(each.key) && !each.negative, [from && `after:${from}`, before && `before:${before}`].filter(Boolean).join(" "));

function dates({ conditions, facets }) {
  const value = (key) => conditions.find((each) => each.key === key && !each.negative)?.value ?? "";
  const on = value("on");
  const from = value("after") || on;
  const before = value("before") || (on && following(on));
  const first = from && firstDay(from);
  const end = before && firstDay(before);
  const field = (name, given, onchange) => make("label", {}, make("span", {}, name), make("input", { type: "date", value: given, onchange }));
  const fields = [
    field(S.from, first, (event) => between(event.target.value, before)),
    field(S.to, end && shifted(end, -1), (event) => between(from, event.target.value && shifted(event.target.value, 1))),
  ];
  const drawn = facets.dates.counts.length > 0;
  return make(
    "section",
    {},
    make("h3", {}, S.dates),
    drawn ? histogram(facets.dates, (from, to) => between(from, to)) : null,
    facets.dates.undated ? make("p", { class: "said" }, S.undated(facets.dates.undated)) : null,
    drawn || from || before ? make("div", { class: "range" }, ...fields) : null,
  );
}

function facet(key, values, conditions) {
  const active = conditions.filter((each) => each.key === key && !each.negative);
  if (values.length < 2 && !active.length) return null;
  const text = (value) => value.filter.slice(key.length + 1).replaceAll('"', "");
  const isActive = (value) => active.some((each) => query.isFilter(each, key, text(value)));
  const shown = whole.has(key) ? values : values.slice(0, FEW);
  const items = shown.map((value) => {
    const pressed = isActive(value);
    const onclick = () => (pressed ? change((each) => query.isFilter(each, key, text(value))) : change(() => false, value.filter));
    const name = key === "is" ? S.kindOf(value.name) : S.values[value.name] ?? value.name;
    return make("li", {}, make(
      "button",
      { type: "button", "aria-pressed": String(pressed), title: key === "folder" ? text(value) : null, onclick },
      make("span", { class: "name" }, name),
      make("span", { class: "number" }, S.number(value.photos)),
    ));
  });
  const more = values.length > FEW
    ? make("button", { class: "more", type: "button", onclick: () => { whole.has(key) ? whole.delete(key) : whole.add(key); draw(); } }, whole.has(key) ? S.fewer : S.allOf(values.length))
    : null;
  return make("section", {}, make("h3", {}, S.facets[key]), make("ul", {}, ...items), more);
}

// Whoever goes through the panel by the keyboard stays at the place where it was when it is drawn anew.
function draw() {
  if (panel.hidden || !last) return;
  const { answer } = last;
  const stops = () => [...panel.querySelectorAll("button, input")];
  const place = stops().indexOf(document.activeElement);
  panel.replaceChildren(
    make("div", { class: "head" }, make("h2", {}, S.filter), make("button", { class: "icon", type: "button", "aria-label": S.close, title: S.close, onclick: flip }, icon(ICONS.close))),
    dates(answer),
    ...FACETS.map((key) => facet(key, answer.facets[key], answer.conditions)).filter(Boolean),
  );
  if (place >= 0) stops()[Math.min(place, stops().length - 1)]?.focus();
}

function flip() {
  panel.hidden = !panel.hidden;
  remember(!panel.hidden);
  toggle.setAttribute("aria-expanded", String(!panel.hidden));
  if (panel.hidden) toggle.focus();
  else facetsAgain();
}

export function start() {
  panel.hidden = !remembered();
  panel.setAttribute("aria-label", S.filter);
  toggle.append(S.filter);
  toggle.setAttribute("aria-expanded", String(!panel.hidden));
  toggle.addEventListener("click", flip);
  onAnswer((answer, asked) => {
    if (!answer.facets) return;
    last = { answer, asked };
    draw();
  });
}
