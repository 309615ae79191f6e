// Photos of which there are several copies, exact or near, in groups: the best first. They are shown, never deleted.

import * as api from "../page/api.js";
import { make } from "../page/dom.js";
import { howToIndex } from "./how-to-index.js";
import { copyOthers, exactGroup, nearGroup, othersOf, partial } from "./duplicates-group.js";
import * as events from "../page/events.js";
import { formatBytes } from "../page/formats.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const PAGE = 20; // groups; some 30 kB
const MOST = 200; // groups that are asked for again after a reload, to come to where one was
const PATIENCE = 400; // ms before it is said that it takes a while
const KINDS = ["exact", "near"];

let parts = null; // { tabs, said, list, foot } of the open view
let kind = "";
let groups = []; // what is shown: { group, apart }
let kinds = null; // totals of both
let unhashed = 0;
let whole = false; // no further page
let of = ""; // the state of the index that they are of
let ownDismissals = 0; // made here, which the groups know of
let asking = null; // the AbortController of the request under way

const indexState = () => { const { photos, revision } = events.last("status") ?? {}; return `${photos} ${revision} ${api.dismissals - ownDismissals}`; };

function tabs() {
  if (!kinds) return [];
  return KINDS.map((each) => {
    const to = { ...state.NOTHING, view: "duplicates", kind: each };
    return make("a", {
      href: state.address(to),
      "aria-current": each === kind && "page",
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        state.set(to);
      },
    }, make("span", { class: "name" }, S.copies[each]), make("span", { class: "soft" }, S.groupsOf(kinds[each].total, formatBytes(kinds[each].reclaimable))));
  });
}

function head() {
  const focused = [...parts.tabs.children].indexOf(document.activeElement);
  parts.tabs.replaceChildren(...tabs());
  parts.tabs.children[focused]?.focus();
  const shown = groups.filter(({ apart }) => !apart).map(({ group }) => group);
  const others = shown.flatMap(othersOf);
  parts.said.replaceChildren(...[
    kinds && make("p", { class: "soft" }, S.copiesHint[kind]),
    unhashed && kind === "near" ? make("p", { class: "soft" }, S.unhashed(unhashed)) : null,
    others.length ? copyOthers(others, !whole || shown.some(partial)) : null,
  ].filter(Boolean));
}

// How far it is: more to come, nothing at all, or what went wrong.
function foot(...content) {
  parts.foot.replaceChildren(...content);
}

const button = (text, onclick) => make("button", { class: "button", type: "button", onclick }, text);

function rest() {
  if (!groups.length) foot(make("p", { class: "none" }, S.noCopies[kind]));
  else if (!whole) foot(button(S.moreGroups, () => more({ focus: true })));
  else foot();
}

function element(entry) {
  const { group } = entry;
  if (group.kind === "exact") return exactGroup(group);
  const keepApart = async (apart) => {
    const photos = group.photos.map((photo) => photo.id);
    await (apart ? api.dismiss(photos) : api.takeBack(photos));
    ownDismissals++;
    entry.apart = apart;
    kinds.near.total += apart ? -1 : 1;
    kinds.near.reclaimable += (apart ? -1 : 1) * group.reclaimable;
    if (parts) head();
  };
  return nearGroup(group, entry.apart, keepApart);
}

async function more({ focus = false, upTo = PAGE } = {}) {
  asking?.abort();
  const controller = (asking = new AbortController());
  const slow = setTimeout(() => foot(make("p", { class: "soft", role: "status" }, S.lookingForCopies)), PATIENCE);
  const first = groups.length;
  try {
    do {
      // Groups that were kept apart are not counted by the server any more: those behind them have moved up.
      const offset = groups.filter(({ apart }) => !apart).length;
      const answer = await api.duplicates(kind, PAGE, offset, controller.signal);
      if (controller.signal.aborted) return;
      ({ kinds, unhashed } = answer);
      if (!state.get().kind && kind !== usual()) {
        kind = usual();
        continue;
      }
      const known = new Set(groups.map(({ group }) => group.best));
      const come = answer.groups.filter((group) => !known.has(group.best)).map((group) => ({ group, apart: false }));
      groups.push(...come);
      parts.list.append(...come.map(element));
      whole = !come.length || offset + PAGE >= answer.total;
    } while (!whole && groups.length < upTo);
    head();
    rest();
    if (focus) parts.list.children[first]?.querySelector(".face").focus();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.noIndex) return foot(make("div", { class: "said" }, ...howToIndex(S.noIndex, S.noIndexHint)));
    foot(make("div", { class: "notice", role: "alert" }, make("span", {}, error.message), button(S.retry, () => more({ focus, upTo }))));
  } finally {
    clearTimeout(slow);
    if (asking === controller) asking = null;
  }
}

function forget() {
  asking?.abort();
  asking = null;
  groups = [];
  whole = false;
  of = indexState();
}

// Where nothing else is asked for: exact copies, if there are any.
const usual = () => (kinds && !kinds.exact.total && kinds.near.total ? "near" : "exact");

async function begin(place) {
  const wanted = state.get().kind || usual();
  const fresh = groups.length && wanted === kind && of === indexState();
  if (!fresh) {
    forget();
    kind = wanted;
  }
  parts.list.replaceChildren(...groups.map(element));
  foot();
  head();
  if (fresh) rest();
  else await more({ upTo: Math.min(MOST, place?.groups ?? PAGE) });
  if (place && parts) scrollTo({ top: place.y, behavior: "instant" });
}

// The library goes on changing: what is looked at stays, until someone wants to see what has become of it.
events.on("status", (status) => {
  if (!parts) return;
  if (of.startsWith("undefined")) of = indexState(); // it was not known yet
  if (of === indexState() || status.detail || asking || parts.changed.childElementCount) return;
  parts.changed.replaceChildren(make("p", { class: "soft" }, S.libraryChanged), button(S.lookAgain, () => {
    parts.changed.replaceChildren();
    forget();
    begin(null);
  }));
});
events.on("opened", () => {
  if (!parts) return;
  for (const notice of parts.list.querySelectorAll(".group > .notice")) notice.remove();
  if (parts.foot.querySelector(".notice, .said")) more();
});

export function open(parent, place) {
  const tabs = make("nav", { class: "tabs", "aria-label": S.copiesLabel });
  const said = make("div", { class: "about-copies" });
  const changed = make("div", { class: "changed", role: "status" });
  const list = make("div", { class: "groups" });
  const foot = make("div", { class: "last" });
  parts = { tabs, said, changed, list, foot };
  parent.append(make("div", { class: "duplicates" }, make("header", {}, make("h1", { tabindex: "-1" }, S.views.duplicates), make("p", { class: "soft" }, S.neverDeletes)), tabs, said, changed, list, foot));
  begin(place);
}

export function refine(now) {
  if ((now.kind || usual()) === kind) return;
  scrollTo({ top: 0, behavior: "instant" });
  begin(null);
}

export function close() {
  asking?.abort();
  asking = null;
  parts = null;
}

export const where = () => (scrollY > 0 ? { groups: groups.length, y: Math.round(scrollY) } : null);
