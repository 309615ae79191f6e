// Rows of small photos beside a large one: of the same moment, and those most like it.

import * as api from "../page/api.js";
import { fileName, make, ornament } from "../page/dom.js";
import { leaderOf } from "../grid/results.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const ALIKE = 12;

const small = (id, label, properties) => make(
  "li",
  {},
  make("button", { type: "button", "aria-label": label, title: label, ...properties }, ornament(api.thumbUrl(id), { loading: "lazy" })),
);

// The photos that stand behind one hit, that hit first: each a click away.
export function moment(id) {
  const leader = leaderOf(id);
  if (!leader?.others.length) return null;
  const ids = [leader.id, ...leader.others];
  const photos = ids.map((each, at) => small(each, S.ofMoment(at + 1, ids.length), {
    "aria-current": each === id && "true",
    onclick: () => state.set({ photo: each }, { replace: true }),
  }));
  return make("section", { class: "moment" }, make("h3", {}, S.moment), make("ul", { class: "strip" }, ...photos));
}

// Fills in by itself; it never says that it failed, for nobody has asked for it.
export function alike(id, signal) {
  const section = make("section", { class: "alike", hidden: true });
  api.similar(id, { limit: ALIKE, collapse: !state.get().apart }, signal).then(
    ({ hits }) => {
      if (!hits.length) return;
      const photos = hits.map((hit) => small(hit.id, hit.caption || fileName(hit.path), { onclick: () => state.set({ photo: hit.id }) }));
      section.append(make("h3", {}, S.alike), make("ul", { class: "strip" }, ...photos));
      section.hidden = false;
    },
    () => {},
  );
  return section;
}
