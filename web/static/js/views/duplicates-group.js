// One group of copies: the best first, and in what the others differ from it.

import * as api from "../page/api.js";
import { compare } from "./compare.js";
import { copyButton, lines } from "../page/copy.js";
import { breakable, fileName, make } from "../page/dom.js";
import { formatBytes, formatDate } from "../page/formats.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const FEW = 12; // copies shown of a group before "more"
const MOST_APART = 100; // photos that can be told apart at once: the server's own limit

// The paths of all files but the best, as far as they are shown: of a near group without the further files of the best photo, which
// have an exact group of their own.
export function othersOf({ kind, photos }) {
  return kind === "exact" ? photos[0].paths.slice(1) : photos.slice(1).flatMap((photo) => photo.paths);
}

// Whether there are more of them than are shown.
export const partial = ({ copies, photos }) => copies > photos.length || photos.some((photo) => photo.files > photo.paths.length);

export const copyOthers = (others, partly) => copyButton(() => lines(others), S.copyOthersHint, partly ? S.copyOthersShown(others.length) : S.copyOthers(others.length));

const button = (text, onclick, properties = {}) => make("button", { class: "button", type: "button", onclick, ...properties }, text);

function picture(photo) {
  const name = photo.caption || fileName(photo.paths[0]);
  return make("a", {
    class: "face",
    href: state.address({ photo: photo.id }),
    onclick: (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      state.set({ photo: photo.id });
    },
  }, make("img", { src: api.thumbUrl(photo.id, "medium"), alt: name, loading: "lazy", decoding: "async" }));
}

const pixels = ({ width, height }) => width * height;

// What differs from the best is said beside it: [what it is, how it differs].
export function differences(photo, best) {
  const part = (one, other) => (one === other || !other ? "" : S.ofBest((100 * one) / other));
  return [
    [S.dimensions(photo.width, photo.height), part(pixels(photo), pixels(best))],
    [`${photo.format} · ${formatBytes(photo.bytes)}`, part(photo.bytes, best.bytes)],
    [photo.taken_at ? formatDate(photo.taken_at) : S.noDate, photo.taken_at && best.taken_at && photo.taken_at !== best.taken_at ? S.otherDate : ""],
  ];
}

const facts = (photo, best) => make("ul", { class: "copy-facts" }, ...differences(photo, best).map(([value, note]) => make("li", {}, make("span", {}, value), note ? make("span", { class: "differs" }, note) : null)));

const path = (text) => make("li", {}, make("span", { class: "path" }, ...breakable(text)), copyButton(() => text, S.copyPath(fileName(text))));

// The server gives a hundred at most.
const paths = (photo) => make("ul", { class: "paths" }, ...photo.paths.map(path), photo.files > photo.paths.length ? make("li", { class: "soft" }, S.morePaths(photo.files - photo.paths.length)) : null);

function head(group, count, ...actions) {
  const others = othersOf(group);
  return make(
    "div",
    { class: "head" },
    make("h2", {}, count),
    make("span", { class: "soft" }, S.toReclaim(formatBytes(group.reclaimable))),
    make("div", { class: "actions" }, ...actions, copyOthers(others, partial(group))),
  );
}

export function exactGroup(group) {
  const [photo] = group.photos;
  return make(
    "section",
    { class: "group exact", "aria-label": fileName(photo.paths[0]) },
    head(group, S.sameFiles(photo.files)),
    make("div", { class: "same" }, picture(photo), make("div", {}, facts(photo, photo), paths(photo))),
  );
}

function copyOf(photo, best) {
  return make(
    "li",
    { class: photo === best ? "copy-of best" : "copy-of" },
    picture(photo),
    make("div", { class: "about-copy" }, photo === best ? make("span", { class: "badge" }, S.best) : null, facts(photo, best), paths(photo)),
  );
}

// keepApart(true) says that they are no duplicates, keepApart(false) takes it back; both may fail.
export function nearGroup(group, apart, keepApart) {
  const { photos } = group;
  const [best] = photos;
  const section = make("section", { class: "group near", "aria-label": fileName(best.paths[0]) });

  const change = async (to) => {
    try {
      await keepApart(to);
      draw(to);
      section.querySelector("[data-apart]").focus();
    } catch (error) {
      section.querySelector(".notice")?.remove();
      section.append(make("p", { class: "notice", role: "alert" }, error.ofAction));
    }
  };

  function draw(kept) {
    section.classList.toggle("kept", kept);
    if (kept) {
      section.replaceChildren(make("p", { role: "status" }, S.keptApart(photos.length)), button(S.undo, () => change(false), { "data-apart": "" }));
      return;
    }
    const list = make("ul", { class: "copies" }, ...photos.slice(0, FEW).map((photo) => copyOf(photo, best)));
    const rest = photos.slice(FEW);
    const all = button(S.moreCopies(rest.length), () => {
      all.remove();
      list.append(...rest.map((photo) => copyOf(photo, best)));
      list.children[FEW].querySelector("a").focus();
    });
    section.replaceChildren(
      head(
        group,
        S.nearCopies(group.copies),
        button(S.compare, () => compare(photos)),
        ...(group.copies <= MOST_APART ? [button(S.notDuplicates, () => change(true), { "data-apart": "" })] : []),
      ),
      list,
      ...(rest.length ? [all] : []),
    );
  }
  draw(apart);
  return section;
}
