// What can be done with the photos that are selected: a bar at the bottom, while there are any.

import * as api from "../page/api.js";
import { copy, lines } from "../page/copy.js";
import { icon, ICONS, make } from "../page/dom.js";
import { focusTile, veil } from "./grid.js";
import { leaveFor } from "../viewer/leave.js";
import * as selection from "./selection.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const MOST_ALIKE = 8; // the server's own limits
const MOST_APART = 100;

const count = make("p", { class: "number", role: "status" });
const said = make("p", { class: "told", role: "status" });
const bar = make("section", { class: "picked", "aria-label": S.selection, hidden: true });
// A form of its own leads the download into the browser's list of downloads; the answer to one that fails goes here.
const aside = make("iframe", { name: "archive", hidden: true, title: S.download });
const field = make("input", { type: "hidden", name: "photos" });
const form = make("form", { method: "post", action: "/api/archive", target: "archive", hidden: true }, field);

const action = (kind, label, path, onclick) => make("button", { class: `do ${kind}`, type: "button", onclick }, icon(path), make("span", {}, label));

// What lies below the bar is not seen.
const cover = () => veil(bar.hidden ? 0 : innerHeight - bar.getBoundingClientRect().top);

function tell(text, undo = null) {
  said.replaceChildren(text, ...(undo ? [make("button", { class: "button", type: "button", onclick: undo }, S.undo)] : []));
  cover();
}

async function copyPaths() {
  const { text, left } = lines(selection.hits().map((hit) => hit.path));
  const copied = await copy(text);
  tell(!copied ? S.notCopied : left ? S.copiedBut(left) : S.pathsCopied(selection.size()));
}

function download() {
  field.value = selection.ids().join(" ");
  form.submit();
  tell(S.downloading(selection.size()));
}

// A download leaves the frame as it is; an answer that comes into it is an error, whose sentence the browser does not show.
async function failed() {
  if (!field.value) return;
  try {
    await api.checkArchive(field.value);
    tell(S.tryDownloadAgain);
  } catch (error) {
    tell(error.message);
  }
}

function findAlike() {
  leaveFor(state.searchBy(selection.ids().map((like) => ({ like }))));
}

async function notDuplicates() {
  const photos = selection.ids();
  const undo = async () => {
    try {
      await api.takeBack(photos);
      tell(S.takenBack);
    } catch (error) {
      tell(error.message);
    }
    bar.querySelector(".apart").focus();
  };
  try {
    const { pairs } = await api.dismiss(photos);
    const allNew = pairs === (photos.length * (photos.length - 1)) / 2; // else undoing would take back more than this
    tell(S.keptApart(photos.length), allNew ? undo : null);
  } catch (error) {
    tell(error.message);
  }
}

const buttons = {
  copy: action("copying", S.copyPaths, ICONS.copy, copyPaths),
  download: action("download", S.download, ICONS.download, download),
  alike: action("alike", S.findAlike, ICONS.search, findAlike),
  apart: action("apart", S.notDuplicates, ICONS.apart, notDuplicates),
};

function allow(button, reason) {
  button.setAttribute("aria-disabled", String(Boolean(reason)));
  button.title = reason;
}

function draw() {
  const size = selection.size();
  const had = bar.contains(document.activeElement);
  bar.hidden = size === 0;
  said.replaceChildren();
  if (!size) {
    cover();
    field.value = "";
    if (had) focusTile(last);
    return;
  }
  last = selection.ids().at(-1);
  count.textContent = S.selected(size);
  allow(buttons.alike, size > MOST_ALIKE ? S.atMostAlike(MOST_ALIKE) : "");
  allow(buttons.apart, size < 2 || size > MOST_APART ? S.twoToMost(MOST_APART) : "");
  cover();
}

let last = ""; // the photo to go back to

export function start() {
  const clear = make("button", { class: "icon", type: "button", "aria-label": S.clearSelection, title: S.clearSelection, onclick: selection.clear }, icon(ICONS.close));
  bar.append(count, make("div", { class: "actions" }, ...Object.values(buttons)), clear, said);
  // Disabled ones stay within reach, and say why.
  bar.addEventListener("click", (event) => {
    const button = event.target.closest('[aria-disabled="true"]');
    if (!button) return;
    event.stopPropagation();
    tell(button.title);
  }, true);
  document.querySelector("main").after(bar, form, aside);
  aside.addEventListener("load", failed);
  selection.onChange(draw);
}
