// Pictures as queries: dropped, pasted or chosen, photos of the library and parts of them. Each is a chip in the box.

import { photo, thumbUrl } from "../page/api.js";
import { byId, fileName, icon, ICONS, make } from "../page/dom.js";
import { clearNotice, say } from "../grid/results.js";
import * as state from "../page/state.js";
import { S } from "../page/strings.js";

const LARGEST = 32 * 1024 * 1024; // the server's own limit; said here before the upload instead of after it
const MOST = 8; // the server's own limit too
const PICTURE_NAME = /\.(jpe?g|png|webp|gif|tiff?|bmp|avif|hei[cf])$/i;
const chips = byId("chips");
const drop = byId("drop");
const chooser = byId("file");

// A HEIC file often comes without a type.
const isPicture = (file) => file.type.startsWith("image/") || PICTURE_NAME.test(file.name);

function accept(files, { beside }) {
  const pictures = files.filter(isPicture);
  if (!pictures.length) return say(S.notAPicture);
  if (pictures.some((file) => file.size > LARGEST)) return say(S.pictureTooLarge);
  const before = beside ? state.examples() : [];
  if (before.length + pictures.length > MOST) return say(S.tooManyPictures(MOST));
  clearNotice();
  state.set({ ...state.searchBy([...before, ...pictures.map(state.keepPicture)]), photo: "", all: "" });
}

// A photo of the library, beside what is searched by already: words, filters and pictures stay.
export function add(like) {
  const others = state.examples().filter((each) => each.like !== like);
  if (others.length >= MOST) return say(S.tooManyPictures(MOST));
  state.set({ ...state.searchBy([...others, { like }]), photo: "" });
  scrollTo({ top: 0 });
}

export const box = (like) => like.split("@")[1]?.split(",").map(Number) ?? null;
export const photoOf = (like) => like.split("@")[0];

function chip(example, text, onRemove) {
  const face = make("span", { class: "face" });
  if (example.file) {
    const source = URL.createObjectURL(example.file);
    const image = make("img", { src: source, alt: "" });
    for (const event of ["load", "error"]) image.addEventListener(event, () => URL.revokeObjectURL(source));
    image.addEventListener("error", () => image.remove());
    face.append(image);
  } else if (example.like) {
    const [left, top, right, bottom] = box(example.like) ?? [0, 0, 1, 1];
    const [width, height] = [right - left, bottom - top];
    const place = (start, length) => (length < 1 ? `${(100 * start) / (1 - length)}%` : "50%");
    const whole = width === 1 && height === 1;
    face.style.backgroundImage = `url("${thumbUrl(photoOf(example.like), whole ? "small" : "large")}")`;
    face.style.backgroundSize = whole ? "cover" : `${100 / width}% ${100 / height}%`;
    face.style.backgroundPosition = `${place(left, width)} ${place(top, height)}`;
  }
  const remove = make("button", { class: "icon", type: "button", onclick: onRemove }, icon(ICONS.close));
  const whole = make("span", { class: "chip" }, face, make("span", { class: "name" }), remove);
  call(whole, text);
  return whole;
}

function call(chip, text) {
  chip.title = text;
  chip.querySelector(".name").textContent = text;
  chip.querySelector("button").title = S.remove(text);
  chip.querySelector("button").setAttribute("aria-label", S.remove(text));
}

let drawn = null; // what the chips stand for at present

export function draw() {
  const examples = state.examples();
  const wanted = examples.map(({ key, like }) => like ?? key).join(" ");
  if (wanted === drawn) return;
  drawn = wanted;
  byId("choose").title = examples.length ? S.addPicture : S.choosePicture;
  byId("choose").setAttribute("aria-label", byId("choose").title);
  chips.classList.toggle("many", examples.length > 1);
  chips.replaceChildren(...examples.map((example) => {
    const text = example.key ? example.file?.name || S.picture : box(example.like) ? S.partOfPhoto : S.likeThis;
    const whole = chip(example, text, () => {
      state.set({ ...state.searchBy(state.examples().filter((each) => (each.like ?? each.key) !== (example.like ?? example.key))), all: "" });
      byId("q").focus();
    });
    if (example.like) name(whole, example.like);
    return whole;
  }));
}

async function name(whole, like) {
  try {
    const known = await photo(photoOf(like));
    const called = known.caption || fileName(known.path);
    call(whole, box(like) ? S.partOf(called) : called);
  } catch {
    // The search itself says what is wrong.
  }
}

const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

export function start() {
  byId("choose").addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    if (chooser.files.length) accept([...chooser.files], { beside: true });
    chooser.value = "";
  });

  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter(isPicture);
    if (!files.length) return;
    event.preventDefault();
    accept(files, { beside: false });
  });

  let depth = 0; // dragenter and dragleave fire for every element on the way
  const stop = () => { depth = 0; drop.hidden = true; };
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    if (depth++ === 0) {
      const more = state.examples().length > 0;
      drop.replaceChildren(make("p", { "data-beside": "" }, more ? S.dropInstead : S.dropHere), ...(more ? [make("p", { "data-beside": "1" }, S.dropBeside)] : []));
      drop.hidden = false;
    }
  });
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    for (const zone of drop.children) zone.classList.toggle("over", zone === zoneAt(event));
  });
  addEventListener("dragleave", (event) => {
    if (carriesFiles(event) && --depth <= 0) stop();
  });
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    const beside = zoneAt(event)?.dataset.beside === "1";
    stop();
    if (event.dataTransfer.files.length) accept([...event.dataTransfer.files], { beside });
  });
}

// The zones take no events themselves, so that dragging over them is dragging over the page.
const zoneAt = (event) => [...drop.children].find((zone) => {
  const { left, right } = zone.getBoundingClientRect();
  return event.clientX >= left && event.clientX < right;
}) ?? drop.firstElementChild;
