// The library, without a query: its photos by date, and beside them the index that they are found by.

import { make } from "../page/dom.js";
import * as dates from "./library-dates.js";
import * as health from "./library-health.js";
import * as jobs from "./library-jobs.js";
import * as models from "./library-models.js";
import { S } from "../page/strings.js";

const parts = [jobs, health, models];

export function open(element, place, back) {
  const overview = make("section", { class: "overview", "aria-label": S.byDate });
  const heading = make("h1", { tabindex: "-1" }, S.views.library);
  const aside = make("aside", { class: "index", "aria-label": S.theIndex });
  element.append(make("div", { class: "library" }, make("header", {}, heading, make("p", { class: "soft", id: "library-total" })), aside, overview));
  dates.open(overview, place, back);
  for (const part of parts) part.open(aside);
}

export function close() {
  dates.close();
  for (const part of parts) part.close();
}

export const where = dates.where;
