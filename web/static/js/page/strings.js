// Every text that the page shows stands in one table for each language, under `languages/`; only the one that is spoken here is
// fetched.

import { LANGUAGE } from "./language.js";

const table = LANGUAGE.split("-")[0];

export const S = (await import(`./languages/${table}.js`))[table];
