// Pictures as queries: dropped, pasted or chosen, and shown as a chip in the box until removed.

import { photo, thumbUrl } from "./api.js";
import { byId, fileName, icon, ICONS, make } from "./dom.js";
import { clearNotice, say } from "./results.js";
import * as state from "./state.js";
import { S } from "./strings.js";

const LARGEST = 32 * 1024 * 1024; // the server's own limit; said here before the upload instead of after it
const PICTURE_NAME = /\.(jpe?g|png|webp|gif|tiff?|bmp|avif|hei[cf])$/i;
const chips = byId("chips");
const drop = byId("drop");
const chooser = byId("file");

let preview = null; // the object URL of the chip's picture

function accept(file) {
  // A HEIC file often comes without a type.
  if (!file.type.startsWith("image/") && !PICTURE_NAME.test(file.name)) return say(S.notAPicture);
  if (file.size > LARGEST) return say(S.pictureTooLarge);
  clearNotice();
  state.set({ picture: state.keepPicture(file), like: "", photo: "", all: "" });
}

function chip(source, text, onRemove) {
  const image = make("img", { src: source, alt: "" });
  image.addEventListener("error", () => image.remove());
  const remove = make("button", { class: "icon", type: "button", "aria-label": S.remove(text), title: S.remove(text), onclick: onRemove }, icon(ICONS.close));
  return make("span", { class: "chip" }, image, make("span", {}, text), remove);
}

let drawn = ""; // what the chip stands for at present

export async function drawChips() {
  const { like, picture } = state.get();
  const file = state.pictureFile();
  const wanted = file ? `picture ${picture}` : like ? `like ${like}` : "";
  if (wanted === drawn) return;
  drawn = wanted;
  if (preview) URL.revokeObjectURL(preview);
  preview = null;
  const remove = () => { state.set({ picture: null, like: "", all: "" }); byId("q").focus(); };
  if (file) {
    preview = URL.createObjectURL(file);
    chips.replaceChildren(chip(preview, S.picture, remove));
  } else if (like) {
    chips.replaceChildren(chip(thumbUrl(like), S.likeThis, remove));
    try {
      const known = await photo(like);
      if (drawn === wanted) chips.querySelector(".chip > span").textContent = known.caption || fileName(known.path);
    } catch {
      // The search itself says what is wrong.
    }
  } else chips.replaceChildren();
}

export function start() {
  byId("choose").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    if (chooser.files.length) accept(chooser.files[0]);
    chooser.value = "";
  });

  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    accept(file);
  });

  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0; // dragenter and dragleave fire for every element on the way
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth += 1;
    drop.hidden = false;
  });
  addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) drop.hidden = true;
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    drop.hidden = true;
    if (event.dataTransfer.files.length) accept(event.dataTransfer.files[0]);
  });
}
