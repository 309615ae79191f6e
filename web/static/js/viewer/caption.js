// What a photo is called in the viewer: its caption, which can be edited there, or else its file name.

import * as api from "../page/api.js";
import { fileName, icon, ICONS, make } from "../page/dom.js";
import { S } from "../page/strings.js";

const LONGEST = 2000; // the server's own limit
const drafts = new Map(); // by photo: what was typed and neither saved nor cancelled before the viewer went on

// `known` is a photo or a hit; `saved` is called with the photo as the server then knows it.
export function heading(id, known, saved) {
  const name = known ? fileName(known.path) : "";
  const caption = known?.caption ?? "";
  const label = caption ? S.editCaption : S.addCaption;
  const edit = () => place.replaceChildren(form(id, known, close, saved));
  const button = make("button", { class: "icon edit", type: "button", "aria-label": label, title: label, onclick: edit }, icon(ICONS.edit));
  const author = caption && known.caption_by ? ` · ${S.captionBy(known.caption_by)}` : "";
  const shown = [
    make("div", { class: "title" }, make("h2", { id: "viewer-title" }, caption || name), known && "paths" in known ? button : null),
    caption ? make("p", { class: "sub" }, name + author) : null,
  ].filter(Boolean);
  const place = make("div", {}, ...shown);
  const close = () => {
    drafts.delete(id);
    place.replaceChildren(...shown);
    button.focus();
  };
  return place;
}

function form(id, known, close, saved) {
  const field = make("textarea", { rows: "3", maxlength: String(LONGEST), "aria-label": S.captionLabel });
  field.value = drafts.get(id) ?? known.caption ?? "";
  field.addEventListener("input", () => drafts.set(id, field.value));
  const trouble = make("p", { class: "notice", role: "alert", hidden: true });
  const save = make("button", { class: "button main", type: "submit" }, S.save);
  const cancel = make("button", { class: "button", type: "button", onclick: close }, S.cancel);
  const whole = make(
    "form",
    { class: "caption" },
    make("h2", { id: "viewer-title", class: "unseen" }, known.caption || fileName(known.path)), // what the photo is called meanwhile
    field,
    make("p", { class: "sub" }, S.captionHint),
    trouble,
    make("div", { class: "actions" }, save, cancel),
  );
  whole.addEventListener("submit", async (event) => {
    event.preventDefault();
    save.disabled = true;
    try {
      const edited = await api.setCaption(id, field.value);
      drafts.delete(id);
      saved(edited);
    } catch (error) {
      trouble.hidden = false;
      trouble.textContent = error.message;
      save.disabled = false;
    }
  });
  whole.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the arrows move in the text, not to the next photo
    const typing = event.target === field;
    if (event.key === "Enter" && typing && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      whole.requestSubmit();
    } else if (event.key === "Escape") {
      event.preventDefault(); // the viewer stays
      if (typing) close();
      else field.focus();
    }
  });
  queueMicrotask(() => field.focus());
  return whole;
}
