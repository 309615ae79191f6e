// Every text that the page shows, in one table: a language is a table like this one.

const number = new Intl.NumberFormat("en");
const plural = (count, one, many) => `${number.format(count)} ${count === 1 ? one : many}`;

export const S = {
  placeholder: "Describe the photo",
  boxLabel: "Describe the photo you are looking for",
  choosePicture: "Search by a picture",
  addPicture: "Add a picture to the search",
  clearText: "Clear the text",
  dropHere: "Drop a picture to find photos like it",
  dropInstead: "Drop here to search by this instead",
  dropBeside: "Drop here to add it to the search",
  tryThese: "Try",
  ideas: ["a red motorcycle", "a cup of coffee", "a cat looking at the camera", "flowers", "stars in the night sky"],

  suggestionsLabel: "Suggestions",
  forgetRecent: "Forget these searches",
  understood: "Understood as",
  number: (count) => number.format(count),
  exactly: (text) => `“${text}”`,
  not: (text) => `not ${text}`,
  filters: {
    after: (value) => `from ${formatPeriod(value)}`,
    before: (value) => `before ${formatPeriod(value)}`,
    on: (value) => formatPeriod(value),
    camera: (value) => `camera ${value}`,
    folder: (value) => `in ${value}`,
    type: (value) => value.toUpperCase(),
    orientation: (value) => value,
    is: (value) => value.toLowerCase(),
    tag: (value) => `tag ${value}`,
  },
  kindOf: (kind) => new Map([["photo", "Photo"], ["screenshot", "Screenshot"], ["document", "Document"], ["drawing", "Drawing"]]).get(kind.toLowerCase()) ?? kind,
  facets: { tag: "Tags", folder: "Folders", camera: "Cameras", is: "Kinds", orientation: "Orientation", type: "Formats" },
  filter: "Filters",
  dates: "Dates",
  from: "From",
  to: "To",
  fromTo: (first, last) => `${first} – ${last}`,
  undated: (count) => `${number.format(count)} without a date`,
  histogram: (first, last) => `Photos by date, from ${first} to ${last}; the fields below choose a range`,
  allOf: (count) => `All ${number.format(count)}`,
  fewer: "Fewer",

  saveSearch: "Save this search",
  saved: "Saved",
  savedSearches: "Saved searches",
  nameOfSearch: "Name of the search",
  rename: (name) => `Rename “${name}”`,
  forget: (name) => `Remove the saved search “${name}”`,

  mode: "Match",
  modes: { auto: "meaning and words", meaning: "meaning", words: "words" },
  sort: "Sort",
  sorts: { relevance: "best first", date: "newest first" },
  collapse: "One per moment",

  searching: "Searching…",
  behind: (collapsed) => (collapsed ? ` and ${number.format(collapsed)} more of the same moments` : ""),
  moreOfMoment: (count) => `${number.format(count)} more of the same moment`,
  found: (total) => plural(total, "photo", "photos"),
  library: (total) => `${plural(total, "photo", "photos")}, newest first`,
  took: (ms) => (ms < 1 ? "under 1 ms" : `${number.format(Math.round(ms))} ms`),
  gridEnds: (shown) => `The first ${number.format(shown)} photos are here. Narrow them down, by a date for example, to come to the others.`,
  showLess: "Show photos that fit less",
  showFitting: "Only photos that fit",

  picture: "Your picture",
  likeThis: "Like this photo",
  partOfPhoto: "Part of a photo",
  partOf: (name) => `Part of ${name}`,
  tooManyPictures: (most) => `A search takes at most ${most} pictures. Remove one first.`,
  remove: (what) => `Remove: ${what}`,
  notAPicture: "That is not a picture. Drop a photo file, such as a JPEG or a PNG.",
  pictureTooLarge: "That picture is larger than 32 MiB. Use a smaller copy of it.",
  pictureLost: "A picture of this search was not kept. Remove it, or drop it here again.",

  noHits: "No photo answers this",
  noHitsHint: "Try fewer or other words, or drop a filter.",
  noIndex: "No photos are indexed yet",
  noIndexHint: "Type this in a terminal, with the folder that holds your photos:",
  noIndexCommand: "sightline index ~/Pictures",
  noIndexThen: "This page shows them as soon as the first ones are in.",
  noPhotos: "The index holds no photos",
  noPhotosHint: "The folders that were indexed hold no pictures that can be read. Index another one:",

  offline: "The server does not answer. This page tries again by itself.",
  retry: "Try again",
  badAnswer: (status) => `The server answered with an error (${status}).`,

  close: "Close",
  previous: "Previous photo",
  next: "Next photo",
  moreLikeThis: "More like this",
  addToSearch: "Add to the search",
  moment: "Of the same moment",
  ofMoment: (place, count) => `Photo ${place} of ${count}`,
  original: "Open the original",
  whyMatched: "Why it matched",
  signals: { meaning: "Meaning", image: "Looks alike" },
  nearest: "the nearest of all",
  nearer: (percentile) => `nearer than ${new Intl.NumberFormat("en", { maximumFractionDigits: percentile > 99 ? 2 : 0 }).format(percentile)} % of the photos`,
  fields: { caption: "In the caption", text: "In its text", name: "In the file name", tags: "In its tags" },
  part: "Part",
  partHint: "Search by a part of the photo (B)",
  partKeys: "A box on the photo. The arrows move it, with Shift they resize it, Enter searches by what is in it.",
  searchPart: "Search by this part",
  partAt: (left, top, right, bottom) => `From ${left} % to ${right} % across, from ${top} % to ${bottom} % down`,
  where: "Where?",
  whereHint: "Show where it matches (W)",
  looking: "Looking…",
  whereLegend: (query) => `Where “${query}” was seen`,
  whereFaint: (query) => `No place in this photo stands out for “${query}”`,
  whereAt: (query, place) => `Where “${query}” was seen: strongest ${place}`,
  ninths: [
    ["at the top left", "at the top", "at the top right"],
    ["on the left", "in the middle", "on the right"],
    ["at the bottom left", "at the bottom", "at the bottom right"],
  ],
  less: "less",
  more: "more",
  editCaption: "Edit the caption",
  addCaption: "Write a caption",
  captionLabel: "Your caption",
  captionHint: "Yours is never overwritten; empty, it gives way to the captioner's.",
  captionBy: (author) => (author === "you" ? "caption by you" : `caption by ${author.split(":")[0]}`),
  save: "Save",
  cancel: "Cancel",
  tags: "Tags",
  kinds: {
    key: "filter", tag: "tag", camera: "camera", folder: "folder", type: "format", orientation: "orientation", is: "kind", on: "date",
    after: "from", before: "before",
  },
  searchFor: (query) => `Search for ${query}`,
  textInPicture: "Text in the picture",
  details: "Details",
  noThumb: "This photo cannot be shown; its file may be gone.",
  facts: {
    taken: "Taken", camera: "Camera", lens: "Lens", size: "Size", file: "File", place: "Place", added: "Added", path: "Where",
  },
  dimensions: (width, height) => `${width} × ${height}`,
  megapixels: (count) => `${count < 10 ? count.toFixed(1) : Math.round(count)} MP`,
  bytes: (count) => {
    const units = ["B", "kB", "MB", "GB"];
    let unit = 0;
    for (; count >= 1000 && unit < 3; unit++) count /= 1000;
    return `${count < 10 && unit > 0 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
  },

  statePhotos: (count) => plural(count, "photo", "photos"),
  stateModel: (name) => `model: ${name}`,
  stateRunning: (kind) => `${kind} is running…`,
  stateLastRun: (when) => `last indexed ${when}`,
  stateFailures: (count) => `${plural(count, "file", "files")} could not be read`,
  failuresHint: "`sightline status --failures` names them",
  stateNoIndex: "No index yet",
  stateOffline: "The server does not answer",
  api: "API",

  apiTitle: "The HTTP API",
  apiDocument: "The same as an OpenAPI document",
  apiParameter: "Field",
  apiMeaning: "What it is",
  apiAnswers: "Answers",
  apiExample: "Example",
};

export function formatDate(iso) {
  // A time without an offset is the camera's wall clock: it is shown as written, never shifted.
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d))?/.exec(iso);
  if (!match) return iso;
  const [, year, month, day, hour, minute] = match;
  const date = new Date(Date.UTC(+year, +month - 1, +day, +(hour ?? 0), +(minute ?? 0)));
  const options = { dateStyle: "long", timeZone: "UTC" };
  if (hour) options.timeStyle = "short";
  return new Intl.DateTimeFormat("en", options).format(date);
}

// A day, a month or a year as the query language writes it.
export function formatPeriod(period) {
  const [year, month, day] = period.split("-").map(Number);
  const options = { timeZone: "UTC", year: "numeric", ...(month && { month: "short" }), ...(day && { day: "numeric" }) };
  const date = new Date(Date.UTC(2000, (month ?? 1) - 1, day ?? 1));
  date.setUTCFullYear(year); // Date.UTC takes the year 21 for 1921
  return Number.isNaN(date.getTime()) ? period : new Intl.DateTimeFormat("en", options).format(date);
}

const day = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeZone: "UTC" });
const month = new Intl.DateTimeFormat("en", { month: "short", year: "numeric", timeZone: "UTC" });

// The day, or the month alone, as short as can be; nothing where that cannot be told.
export function formatDay(iso, { monthAlone = false } = {}) {
  const time = Date.parse(`${iso.slice(0, 10)}T00:00:00Z`);
  return Number.isNaN(time) ? "" : (monthAlone ? month : day).format(time);
}

// What the server's own clock wrote is UTC, and is shown in the time of the person who looks.
const moment = (iso) => Date.parse(/[zZ]$|[+-]\d\d:?\d\d$/.test(iso) ? iso : `${iso.replace(" ", "T")}Z`);

export function formatMoment(iso) {
  const time = moment(iso);
  return Number.isNaN(time) ? iso : new Intl.DateTimeFormat("en", { dateStyle: "long", timeStyle: "short" }).format(time);
}

export function ago(iso) {
  const seconds = (moment(iso) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return iso;
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const steps = [["day", 86400], ["hour", 3600], ["minute", 60]];
  for (const [unit, length] of steps) {
    if (Math.abs(seconds) >= length) return format.format(Math.round(seconds / length), unit);
  }
  return "just now";
}
