// What a camera wrote of a photo, what its file is, and where both are.

import { copyButton } from "../page/copy.js";
import { breakable, fileName, icon, ICONS, make } from "../page/dom.js";
import { formatBytes, formatDate, formatMoment } from "../page/formats.js";
import { S } from "../page/strings.js";

const copiable = (path) => make("span", { class: "path" }, make("span", {}, ...breakable(path)), copyButton(() => path, S.copyPath(fileName(path))));

// The one link of the page that leads to another server: only following it tells that server anything.
function map(latitude, longitude) {
  const place = new URLSearchParams({ mlat: latitude.toFixed(6), mlon: longitude.toFixed(6) });
  const href = `https://www.openstreetmap.org/?${place}#map=16/${latitude.toFixed(6)}/${longitude.toFixed(6)}`;
  return make("a", { class: "map", href, target: "_blank", rel: "noopener noreferrer", title: S.mapHint }, icon(ICONS.place), S.map);
}

function* placed({ latitude, longitude }) {
  if (latitude === null || longitude === null) return;
  yield `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;
  yield map(latitude, longitude);
}

export function facts(photo) {
  const rows = [];
  const row = (name, ...values) => {
    const given = values.filter(Boolean);
    if (given.length) rows.push(make("dt", {}, name), ...given.map((value) => make("dd", {}, value)));
  };
  const { facts: names } = S;
  row(names.taken, photo.taken_at && formatDate(photo.taken_at));
  row(names.camera, photo.camera);
  row(names.lens, photo.lens);
  if (photo.width && photo.height) {
    const megapixels = (photo.width * photo.height) / 1e6;
    row(names.size, [S.dimensions(photo.width, photo.height), megapixels >= 0.1 && S.megapixels(megapixels)].filter(Boolean).join(" · "));
  }
  row(names.file, [photo.format, photo.bytes && formatBytes(photo.bytes)].filter(Boolean).join(" · "));
  row(names.place, ...placed(photo));
  row(names.added, photo.added_at && formatMoment(photo.added_at));
  row(names.path, ...photo.paths.map(copiable));
  const away = photo.offline ? make("p", { class: "notice" }, S.awayHint) : null;
  return make("section", {}, make("h3", {}, S.details), away, make("dl", { class: "facts" }, ...rows));
}

export const written = (lines) =>
  make("section", {}, make("h3", {}, S.textInPicture), make("p", { class: "text" }, lines.map((line) => line.text).join("\n")));
