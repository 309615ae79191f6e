// How the index is: what it holds, what waits, and what could not be read, with the reasons.

import * as api from "../page/api.js";
import { breakable, make } from "../page/dom.js";
import * as events from "../page/events.js";
import { ago } from "../page/formats.js";
import { S } from "../page/strings.js";

const PAGE = 50; // failures
const GATHER = 3000; // ms at least between two questions
const CALM = 30000; // the same while a run is at work: what changes is told by events

let card = null;
let whole = null; // the last answer
let failed = null; // { details, count, list, wrong, more }
let asked = 0;
let timer = null;
let total = 0; // failures that there are

function folder({ path, photos, failures, missing, offline, indexed_at: at }) {
  const facts = [S.found(photos), failures ? S.unreadable(failures) : "", missing ? S.missing(missing) : "", at ? S.lookedThrough(ago(at)) : ""].filter(Boolean);
  const away = offline ? make("span", { class: "wrong path" }, offline) : null;
  return make("li", {}, make("span", { class: "path" }, ...breakable(path)), make("span", { class: "soft" }, facts.join(" · ")), away);
}

// What the event tells is newer than what was asked for.
function draw() {
  const status = { ...whole, described: { ...whole.described } };
  const { photos, model, generation, waiting: counts } = events.last("status") ?? status;
  for (const stage of Object.keys(counts ?? {})) status.described[stage] = { waiting: counts[stage] };
  Object.assign(status, { photos, model, generation });
  const waiting = Object.entries(status.described).filter(([, stage]) => stage.waiting).map(([name, stage]) => S.waiting[name](stage.waiting));
  const copies = photos === whole.photos ? status.files - photos : 0; // else the files are of another state
  card.replaceChildren(
    card.firstChild,
    make("dl", { class: "pairs" }, ...[
      [S.held, S.found(status.photos) + (copies > 0 ? `, ${S.inFiles(status.files)}` : "")],
      [S.modelUsed, status.model ? S.modelAt(status.model, status.generation) : S.noModel],
      [S.waits, waiting.length ? waiting.join(", ") : S.nothingWaits],
    ].flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])),
    make("h3", {}, S.folders(status.libraries.length)),
    make("ul", { class: "plain" }, ...status.libraries.map(folder)),
  );
}

function failure({ path, stage, reason }) {
  return make("li", { tabindex: "-1" }, make("p", { class: "path" }, ...breakable(path)), make("p", { class: "soft path" }, S.failedAt(stage, reason)));
}

async function failures() {
  const { list, more, wrong } = failed;
  const had = document.activeElement === more;
  more.hidden = true;
  wrong.textContent = "";
  try {
    const answer = await api.failures(PAGE, list.children.length);
    if (failed?.list !== list) return;
    const first = list.children.length;
    list.append(...answer.failures.map(failure));
    ({ total } = answer);
    more.textContent = S.moreFailures;
    more.hidden = list.children.length >= total || !answer.failures.length;
    if (had) list.children[first]?.focus();
  } catch (error) {
    if (failed?.list !== list) return;
    wrong.textContent = error.message;
    more.textContent = S.retry;
    more.hidden = false;
    if (had) more.focus();
  }
}

// The number at once; the list when it is looked at.
function countFailures(count) {
  const changed = total !== count;
  total = count;
  failed.details.hidden = count === 0;
  failed.count.textContent = S.couldNotRead(count);
  if (!changed) return;
  failed.list.replaceChildren();
  if (failed.details.open) failures();
}

async function ask() {
  timer = null;
  asked = Date.now();
  try {
    whole = await api.status();
    if (card) draw();
  } catch (error) {
    // What is wrong is said where the photos are.
    if (card && !error.offline && !error.noIndex) timer ??= setTimeout(ask, GATHER);
  }
}

function soon(status) {
  if (!card) return;
  card.hidden = Boolean(status.detail);
  countFailures(status.failures);
  clearTimeout(timer);
  timer = null;
  if (status.detail) return;
  if (whole) draw();
  timer = setTimeout(ask, Math.max(0, asked + (status.job === null ? GATHER : CALM) - Date.now()));
}

export function open(aside) {
  card = make("details", { class: "card" }, make("summary", {}, make("h2", {}, S.theIndex)));
  card.open = matchMedia("(min-width: 1000px)").matches; // where it stands beside the photos, not above them
  const list = make("ul", { class: "plain" });
  const count = make("h2");
  const wrong = make("p", { class: "wrong", role: "status" });
  const more = make("button", { class: "button", type: "button", hidden: true, onclick: () => failures() });
  const details = make("details", { class: "card", hidden: true, ontoggle: () => { if (details.open && !list.children.length) failures(); } }, make("summary", {}, count), list, wrong, more);
  failed = { details, count, list, wrong, more };
  total = 0;
  asked = 0;
  aside.append(card, details);
  if (events.last("status")) soon(events.last("status")); // else it is the first to be heard of
}

export function close() {
  card = failed = whole = null;
  clearTimeout(timer);
  timer = null;
}

events.on("status", soon);
events.on("away", (error) => { if (card) card.hidden = error.noIndex; });
