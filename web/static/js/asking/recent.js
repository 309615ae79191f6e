// Searches made in this browser, which keeps them for itself.

const KEY = "sightline.recent";
const MOST = 12;

export function all() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((q) => typeof q === "string").slice(0, MOST) : [];
  } catch {
    return []; // a browser that keeps nothing, or what another page left there
  }
}

function keep(searches) {
  try {
    localStorage.setItem(KEY, JSON.stringify(searches.slice(0, MOST)));
  } catch {
    // Then nothing is remembered; searching goes on.
  }
}

let last = null; // what was remembered last, since this page was opened

// What someone typed on the way to `q` is not worth remembering beside it.
export function add(q) {
  const text = q.trim();
  if (text.length < 2) return;
  const onTheWay = last !== null && text.startsWith(last) ? last : text;
  keep([text, ...all().filter((other) => other !== text && other !== onTheWay)]);
  last = text;
}

export const clear = () => keep([]);
