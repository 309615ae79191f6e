// Every text that the page shows stands in one table for each language, under `languages/`. All are fetched with the page: one that
// came later would have the page answer to nothing until it is there.

import { LANGUAGE } from "./language.js";
import { en } from "./languages/en.js";
import { zh } from "./languages/zh.js";

export const S = { en, "zh-CN": zh }[LANGUAGE];
