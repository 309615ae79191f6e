// Two copies, large, side by side: the best, and one of the others, through which the arrows go.

import * as api from "../page/api.js";
import { fileName, icon, ICONS, make } from "../page/dom.js";
import { differences } from "./duplicates-group.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

let open = null;

// Back leaves what it was opened over, and so the dialog.
state.onChange(() => open?.close());

function side(photo, best, label) {
  const image = make("img", { src: api.thumbUrl(photo.id, "large"), alt: photo.caption || fileName(photo.paths[0]), width: photo.width, height: photo.height });
  image.addEventListener("error", () => image.replaceWith(make("p", { class: "soft" }, S.noThumb)));
  const said = differences(photo, best).map(([value, note]) => (note ? `${value} (${note})` : value)).join(" · ");
  return make("figure", {}, make("div", { class: "frame" }, image), make("figcaption", {}, make("strong", {}, label), make("span", { class: "path" }, fileName(photo.paths[0])), make("span", { class: "soft" }, said)));
}

export function compare([best, ...others]) {
  let at = 0;
  const place = make("span", { class: "soft", role: "status" });
  const control = (label, path, onclick) => make("button", { class: "icon", type: "button", "aria-label": label, title: label, onclick }, icon(path));
  const step = (by) => {
    if (others.length < 2) return;
    at = (at + by + others.length) % others.length;
    draw();
  };
  const pair = make("div", { class: "pair" });
  const several = others.length > 1;
  const dialog = make(
    "dialog",
    { class: "compare", "aria-label": S.compareLabel, onclose: () => { dialog.remove(); open = null; } },
    make(
      "div",
      { class: "tools-row" },
      make("h2", {}, S.compareLabel),
      ...(several ? [control(S.previousCopy, ICONS.previous, () => step(-1)), place, control(S.nextCopy, ICONS.next, () => step(1))] : []),
      control(S.close, ICONS.close, () => dialog.close()),
    ),
    pair,
  );
  function draw() {
    place.textContent = S.copyOf(at + 1, others.length);
    pair.replaceChildren(side(best, best, S.best), side(others[at], best, several ? S.copyOf(at + 1, others.length) : S.copyAlone));
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
  });
  draw();
  open = dialog;
  document.body.append(dialog);
  dialog.showModal();
}
