// Renders the OpenAPI document as a page. Nothing is fetched from anywhere but this server.

import { byId, make } from "./page/dom.js";
import { S } from "./page/strings.js";

const resolve = (document, schema) =>
  schema?.$ref ? schema.$ref.slice(2).split("/").reduce((place, key) => place[key], document) : schema ?? {};

function typeOf(document, schema) {
  const { anyOf, type, format, enum: choices, const: only, items, default: preset, minimum, maximum, maxLength, pattern } = resolve(document, schema);
  if (anyOf) return anyOf.map((each) => typeOf(document, each)).join(S.apiOr);
  const parts = [choices ? choices.join(" | ") : only ?? (type === "array" ? S.apiListOf(typeOf(document, items)) : format ?? type ?? "object")];
  if (minimum !== undefined || maximum !== undefined) parts.push(S.apiRange(minimum, maximum));
  if (maxLength !== undefined) parts.push(S.apiLongest(maxLength));
  if (pattern) parts.push(pattern);
  if (preset !== undefined && preset !== "" && preset !== null) parts.push(S.apiDefault(preset));
  return parts.join(", ");
}

// Whatever the language of the page.
const WRITTEN = { lang: "en" };

// The descriptions are Markdown, of which they use `code` alone.
const prose = (text = "") => text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));

function fields(document, operation) {
  const rows = (operation.parameters ?? []).map((each) => [each.name, each.in, each.schema, each.description]);
  const form = operation.requestBody?.content?.["multipart/form-data"]?.schema;
  for (const [name, schema] of Object.entries(resolve(document, form).properties ?? {})) rows.push([name, "form", schema, schema.description]);
  if (rows.length === 0) return null;
  return make(
    "table",
    {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, S.apiParameter), make("th", { scope: "col" }, S.apiMeaning))),
    make("tbody", {}, ...rows.map(([name, where, schema, text]) =>
      make("tr", {}, make("td", {}, make("code", {}, name)), make("td", {}, make("span", WRITTEN, ...prose(text)), make("p", {}, S.apiPlaces[where] + typeOf(document, schema)))))),
  );
}

function section(document, path, verb, operation) {
  const answers = Object.entries(operation.responses ?? {}).map(([status, { description }]) => `${status} ${description}`).join(" · ");
  const example = operation.responses?.["200"]?.content?.["application/json"]?.example;
  return make(
    "section",
    { id: operation.operationId },
    make("h2", {}, make("span", { class: "verb" }, verb.toUpperCase()), make("code", {}, path), make("span", WRITTEN, operation.summary ?? "")),
    make("p", WRITTEN, ...prose(operation.description)),
    fields(document, operation),
    make("p", {}, S.apiAnswers + answers),
    example ? make("details", {}, make("summary", {}, S.apiExample), make("pre", {}, JSON.stringify(example, null, 2))) : null,
  );
}

const api = byId("api");
document.title = `${S.apiTitle} – Sightline`;
try {
  const document_ = await (await fetch("/openapi.json")).json();
  const sections = Object.entries(document_.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => section(document_, path, verb, operation)));
  api.replaceChildren(
    make("h1", {}, S.apiTitle),
    make("p", WRITTEN, ...prose(document_.info.description)),
    make("p", {}, make("a", { href: "/openapi.json" }, S.apiDocument)),
    ...sections,
  );
} catch {
  api.replaceChildren(make("p", { class: "notice", role: "alert" }, S.offline));
}
