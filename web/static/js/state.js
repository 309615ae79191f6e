// What is being looked at, kept in the address: back, forward, reload and a shared link all lead here.
//
// An uploaded picture cannot stand in an address. It is kept in this page's memory, under a number that the history
// entry carries; after a reload it is gone, and the page says so.

const KEYS = ["q", "mode", "sort", "all", "apart", "like", "photo"];
const SEARCH = ["q", "mode", "sort", "all", "apart", "like", "picture"];
const DEFAULTS = { q: "", mode: "", sort: "", all: "", apart: "", like: "", photo: "", picture: null };

const pictures = new Map();
const listeners = [];

let current = fromAddress();
let whereabouts = () => undefined;

function fromAddress() {
  const parameters = new URLSearchParams(location.search);
  const state = { ...DEFAULTS, picture: history.state?.picture ?? null };
  for (const key of KEYS) state[key] = parameters.get(key) ?? "";
  return state;
}

export const get = () => current;
export const pictureFile = () => pictures.get(current.picture) ?? null;
export const pictureIsLost = () => current.picture !== null && !pictures.has(current.picture);

export function address(changes = {}) {
  const state = { ...current, ...changes };
  const parameters = new URLSearchParams();
  for (const key of KEYS) if (state[key]) parameters.set(key, state[key]);
  const text = parameters.toString();
  return text ? `/?${text}` : "/";
}

export function keepPicture(file) {
  const key = Date.now();
  pictures.set(key, file);
  return key;
}

// Where in the grid one is stands in the history entry too: the browser itself could only tell by pixels, of a page that is not
// there yet after a reload. whereIs() gives what to keep, or undefined.
export const placeBy = (whereIs) => { whereabouts = whereIs; };
export const place = () => history.state?.place ?? null;

export function keepPlace() {
  const place = whereabouts();
  if (place !== undefined) history.replaceState({ ...history.state, place }, "");
}

// replace: the change refines the present entry (typing on, walking from photo to photo) and is no step of its own.
export function set(changes, { replace = false } = {}) {
  const before = current;
  if (!replace) keepPlace();
  current = { ...current, ...changes };
  if (Object.keys(DEFAULTS).every((key) => before[key] === current[key])) return;
  const entry = { picture: current.picture, opened: Boolean(current.photo) && (replace ? history.state?.opened : true) };
  // Those that fit less come behind the others, which keep their places.
  if (SEARCH.every((key) => key === "all" || before[key] === current[key])) entry.place = place();
  history[replace ? "replaceState" : "pushState"](entry, "", address());
  for (const listener of listeners) listener(current, before);
}

// Leaving the viewer goes back where it was opened from here; on a shared link there is no such place.
export function closePhoto() {
  if (history.state?.opened) history.back();
  else set({ photo: "" }, { replace: true });
}

export const onChange = (listener) => listeners.push(listener);

export const sameSearch = (one, other) => SEARCH.every((key) => one[key] === other[key]);

addEventListener("popstate", () => {
  const before = current;
  current = fromAddress();
  for (const listener of listeners) listener(current, before);
});
