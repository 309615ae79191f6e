// What is being looked at, kept in the address: back, forward, reload and a shared link all lead here.
//
// `like` names photos of the index, or parts of them (`ID@left,top,right,bottom`), with blanks between. Uploaded pictures
// cannot stand in an address: they are kept in this page's memory, under numbers that the history entry carries, again
// with blanks between; after a reload they are gone, and the page says so.

const KEYS = ["view", "kind", "q", "mode", "sort", "all", "apart", "like", "photo"];
const SEARCH = ["q", "mode", "sort", "all", "apart", "like", "pictures"];
const VIEWS = ["library", "duplicates"]; // what is shown instead of a search
const KINDS = ["exact", "near"]; // of duplicates
export const NOTHING = { view: "", kind: "", q: "", mode: "", sort: "", all: "", apart: "", like: "", photo: "", pictures: "" };

const pictures = new Map();
const listeners = [];

let current = fromAddress();
const whereabouts = [];

function fromAddress() {
  const parameters = new URLSearchParams(location.search);
  const state = { ...NOTHING, pictures: history.state?.pictures ?? "" };
  // As the box would have it, which holds one line.
  for (const key of KEYS) state[key] = (parameters.get(key) ?? "").replace(/[\r\n]+/g, " ");
  if (!VIEWS.includes(state.view) || state.q || state.like) Object.assign(state, { view: "", kind: "" });
  if (!KINDS.includes(state.kind)) state.kind = "";
  return state;
}

export const get = () => current;

const listed = (text) => text.split(" ").filter(Boolean);

// All pictures and photos that are searched by, in the order in which they are shown: { like } or { key, file }, whose
// file is undefined once it is lost.
export const examples = (state = current) => [
  ...listed(state.pictures).map((key) => ({ key, file: pictures.get(key) })),
  ...listed(state.like).map((like) => ({ like })),
];

// The changes that make these the examples.
export const searchBy = (examples) => ({
  pictures: examples.filter((each) => each.key).map((each) => each.key).join(" "),
  like: examples.filter((each) => each.like).map((each) => each.like).join(" "),
});

// Whoever searches leaves a view for that.
function after(changes) {
  const state = { ...current, ...changes };
  const asks = !("view" in changes) && SEARCH.some((key) => state[key] !== current[key]);
  return asks ? { ...state, view: "", kind: "" } : state;
}

export function address(changes = {}) {
  const state = after(changes);
  const parameters = new URLSearchParams();
  for (const key of KEYS) if (state[key]) parameters.set(key, state[key]);
  const text = parameters.toString();
  return text ? `/?${text}` : "/";
}

let kept = Date.now(); // other than after an earlier reload

export function keepPicture(file) {
  const key = String(kept++);
  pictures.set(key, file);
  return { key, file };
}

// Where in the grid one is stands in the history entry too: the browser itself could only tell by pixels, of a page that is not
// there yet after a reload. So may be the place in a view. whereIs() gives what to keep, or undefined.
export const placeBy = (whereIs) => whereabouts.push(whereIs);
export const place = () => history.state?.place ?? null;

export function keepPlace() {
  const place = whereabouts.map((whereIs) => whereIs()).find((each) => each !== undefined);
  if (place !== undefined) history.replaceState({ ...history.state, place }, "");
}

// How many entries back the viewer is closed; 0: it was not opened from here.
function opened(before, replace) {
  if (!current.photo) return 0;
  const already = Number(history.state?.opened ?? 0);
  if (replace) return already;
  return before.photo && !already ? 0 : already + 1;
}

// replace: the change refines the present entry (typing on, walking from photo to photo) and is no step of its own.
export function set(changes, { replace = false } = {}) {
  const before = current;
  if (!replace) keepPlace();
  current = after(changes);
  if (Object.keys(NOTHING).every((key) => before[key] === current[key])) return;
  const entry = { pictures: current.pictures, opened: opened(before, replace) };
  // Those that fit less come behind the others, which keep their places.
  if (["view", "kind", ...SEARCH].every((key) => key === "all" || before[key] === current[key])) entry.place = place();
  history[replace ? "replaceState" : "pushState"](entry, "", address());
  for (const listener of listeners) listener(current, before, { back: false });
}

// Leaving the viewer goes back where it was opened from here; on a shared link there is no such place.
export function closePhoto() {
  const back = Number(history.state?.opened ?? 0);
  if (back) history.go(-back);
  else set({ photo: "" }, { replace: true });
}

export const onChange = (listener) => listeners.push(listener);

export const sameSearch = (one, other) => SEARCH.every((key) => one[key] === other[key]);

addEventListener("popstate", () => {
  const before = current;
  current = fromAddress();
  for (const listener of listeners) listener(current, before, { back: true });
});
