// The language of the page: the first of the browser's languages that there is a table for. Chinese is written in simplified
// characters here; who prefers the traditional ones reads these rather than what comes later in the list.

const KNOWN = { en: "en", zh: "zh-CN" };

export const LANGUAGE = navigator.languages.map((each) => KNOWN[each.toLowerCase().split("-")[0]]).find(Boolean) ?? "en";

document.documentElement.lang = LANGUAGE;
