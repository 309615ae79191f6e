// Why a photo is among the hits.

import { make } from "../page/dom.js";
import { S } from "../page/strings.js";

export function reasons(hit) {
  if (!hit || hit.why.length === 0) return null;
  const lines = hit.why.map((reason) => {
    if (reason.signal === "words") {
      const parts = (reason.parts ?? []).map((part) => make(part.marked ? "mark" : "span", {}, part.text));
      return make("li", {}, make("span", { class: "field" }, S.fields[reason.field] ?? reason.field), ...parts);
    }
    const similarity = reason.similarity ?? 0;
    return make(
      "li",
      {},
      make("div", { class: "line" }, make("span", {}, S.signals[reason.signal] ?? reason.signal), make("span", {}, similarity.toFixed(3))),
      make("div", { class: "field" }, reason.rank === 1 ? S.nearest : S.nearer(reason.percentile)),
      make("meter", { min: "0", max: "1", value: String(Math.max(0, Math.min(1, similarity))), "aria-hidden": "true" }),
    );
  });
  return make("section", { class: "reasons" }, make("h3", {}, S.whyMatched), make("ul", { class: "why" }, ...lines));
}
