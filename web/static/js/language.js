// The language of the page: the first of the browser's languages that there is a table for.

const KNOWN = { en: "en" };

export const LANGUAGE = navigator.languages.map((each) => KNOWN[each.toLowerCase().split("-")[0]]).find(Boolean) ?? "en";

document.documentElement.lang = LANGUAGE;
