// Copying text, also where the browser's own clipboard is not to be had: it is only for addresses that are thought safe, and
// a server in the home network, over plain HTTP, is none.

import { icon, ICONS, make } from "./dom.js";
import { S } from "./strings.js";

const SAID = 1800; // ms
const SAID_MORE = 6000; // where there is more to read

// What would end a line, or changes a path beyond use: control characters, other ends of lines, and what stands for bytes that are
// no text.
const NO_LINE = /[\p{Cc}\u2028\u2029\ufffd]/u;

// Paths one a line, as { text, left }: those that would be more than one line, or another path, are left out; `left` of them.
export function lines(paths) {
  const fit = paths.filter((path) => !NO_LINE.test(path));
  return { text: fit.join("\n"), left: paths.length - fit.length };
}

// Whether it was copied.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

function copySelected(text) {
  const before = document.activeElement;
  const field = make("textarea", { class: "unseen", readonly: true, tabindex: "-1", "aria-hidden": "true" });
  field.value = text;
  // Whatever lies outside an open dialog cannot be focused.
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.focus({ preventScroll: true });
  field.select();
  let copied = false;
  try {
    copied = document.execCommand("copy");
  } catch {
    // Then it was not.
  }
  field.remove();
  before?.focus({ preventScroll: true, focusVisible: false });
  return copied;
}

// A button that copies what `textOf` gives, a text or { text, left }, and says so. words: what stands on it; without them it
// shows an icon alone, and `label` says what it is.
export function copyButton(textOf, label, words = null) {
  const face = words ? make("span", {}, words) : null;
  const said = make("span", { class: "unseen", role: "status" });
  const button = make("button", { class: words ? "button copy" : "icon copy", type: "button", "aria-label": words ? null : label, title: label }, icon(ICONS.copy), face);
  let timer = null;
  const mark = (path, text) => {
    button.firstChild.replaceWith(icon(path));
    button.title = text || label;
    if (face) face.textContent = text || words;
    said.textContent = text;
  };
  button.addEventListener("click", async () => {
    // Inside an open dialog, if the button is: what lies outside is not read out.
    (button.closest("dialog") ?? document.body).append(said);
    const wanted = textOf();
    const { text, left } = typeof wanted === "string" ? { text: wanted, left: 0 } : wanted;
    if (!(await copy(text))) mark(ICONS.close, S.notCopied);
    else if (left) mark(ICONS.check, S.copiedBut(left));
    else mark(ICONS.check, S.copied);
    clearTimeout(timer);
    timer = setTimeout(() => { mark(ICONS.copy, ""); said.remove(); }, left ? SAID_MORE : SAID);
  });
  return button;
}
