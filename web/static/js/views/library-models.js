// The models to choose from, what each would cost this library, and what to type to change to it.

import * as api from "../page/api.js";
import { copyButton } from "../page/copy.js";
import { make } from "../page/dom.js";
import { duration, formatBytes } from "../page/formats.js";
import { S } from "../page/strings.js";

let details = null;

function choice(preset) {
  const command = `sightline index --model ${preset.name}`;
  const { photos_to_embed: photos, download_bytes: download, seconds } = preset;
  const cost = [
    photos === null ? "" : photos ? S.toEmbed(photos) : S.allEmbedded,
    download ? S.toDownload(formatBytes(download)) : preset.installed ? S.installed : "",
    photos ? (seconds === null ? S.timeUnknown : S.timeAbout(duration(seconds))) : "",
  ].filter(Boolean).join(" · ");
  return make(
    "li",
    {},
    make("p", {}, make("strong", {}, preset.name), preset.used ? make("span", { class: "badge" }, S.inUse) : null),
    make("p", { class: "soft" }, S.purposes[preset.name] ?? preset.purpose),
    ...(preset.used ? [] : [
      make("p", { class: "soft" }, cost),
      make("p", { class: "command" }, make("code", {}, command), copyButton(() => command, S.copyCommand(preset.name))),
    ]),
  );
}

async function ask() {
  const into = details;
  const list = into.querySelector("ul");
  try {
    const { presets, index } = await api.models();
    if (details !== into) return;
    // A model by a name of its own stands beside the presets.
    const other = index && !presets.some((preset) => preset.used) ? [make("li", {}, make("p", {}, make("strong", { class: "path" }, index.model), make("span", { class: "badge" }, S.inUse)))] : [];
    list.replaceChildren(...other, ...presets.map(choice));
  } catch (error) {
    if (details === into) list.replaceChildren(make("li", { class: "wrong" }, error.message));
  }
}

export function open(aside) {
  details = make(
    "details",
    { class: "card models", ontoggle: () => { if (details?.open) ask(); } },
    make("summary", {}, make("h2", {}, S.models)),
    make("p", { class: "soft" }, S.modelsHint),
    make("ul", { class: "plain" }),
  );
  aside.append(details);
}

export function close() {
  details = null;
}
