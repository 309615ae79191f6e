// Copying text, also where the browser's own clipboard is not to be had: it is only for addresses that are thought safe, and
// a server in the home network, over plain HTTP, is none.

import { icon, ICONS, make } from "./dom.js";
import { S } from "./strings.js";

const SAID = 2000; // ms

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

// A small button that copies `text`, and says so beside it.
export function copyButton(text, label) {
  const said = make("span", { class: "said", role: "status" });
  let timer = null;
  const button = make("button", { class: "icon copy", type: "button", "aria-label": label, title: label }, icon(ICONS.copy));
  button.addEventListener("click", async () => {
    const copied = await copy(text);
    clearTimeout(timer);
    said.textContent = copied ? S.copied : S.notCopied;
    timer = setTimeout(() => { said.textContent = ""; }, SAID);
  });
  return make("span", { class: "copying" }, button, said);
}
