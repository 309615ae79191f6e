// Making elements. Text only ever enters the page as text: there is no innerHTML anywhere.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// A small picture that is an ornament: where it is not to be had, nothing is shown in its place.
export const ornament = (src, properties = {}) =>
  make("img", { src, alt: "", decoding: "async", ...properties, onerror: ({ target }) => target.classList.add("lacking") });

export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

export const ICONS = {
  close: "m6.5 6.5 11 11m0-11-11 11",
  previous: "m14.5 5-7 7 7 7",
  next: "m9.5 5 7 7-7 7",
  edit: "m5 19 1-4L16.5 4.5l3 3L9 18l-4 1Zm9-12 3 3",
  photos: "M5.5 4.5h13a2 2 0 0 1 2 2v11a2 2 0 0 1-2 2h-13a2 2 0 0 1-2-2v-11a2 2 0 0 1 2-2Zm-2 12.5 5-4.5 3.5 3 3.5-3.5 5 4.5",
  where: "M12 7a5 5 0 1 1 0 10 5 5 0 0 1 0-10Zm0-4.5V7m0 10v4.5M2.5 12H7m10 0h4.5",
  clock: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16Zm0 3.5V12l3 2",
  bookmark: "M7 4.5h10a1 1 0 0 1 1 1V20l-6-4.5L6 20V5.5a1 1 0 0 1 1-1Z",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 19.5h14",
  apart: "M4.5 5.5h6v13h-6zm9 0h6v13h-6z",
  plus: "M12 5.5v13m-6.5-6.5h13",
  minus: "M5.5 12h13",
  place: "M12 21c4.5-4.6 6.5-8 6.5-11a6.5 6.5 0 0 0-13 0c0 3 2 6.4 6.5 11Zm0-8.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
  part: "M4.5 8V5.5a1 1 0 0 1 1-1H8m8 0h2.5a1 1 0 0 1 1 1V8m0 8v2.5a1 1 0 0 1-1 1H16m-8 0H5.5a1 1 0 0 1-1-1V16M9 9h6v6H9V9Z",
  library: "M4.5 5.5h6v6h-6v-6Zm9 0h6v6h-6v-6Zm-9 9h6v4h-6v-4Zm9 0h6v4h-6v-4Z",
  duplicates: "M8.5 4.5h9a2 2 0 0 1 2 2v9M5.5 8.5h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-8a2 2 0 0 1-2-2v-8a2 2 0 0 1 2-2Z",
  copy: "M9 9h9.5a1 1 0 0 1 1 1v9.5a1 1 0 0 1-1 1H9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1ZM5 15.5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1h9.5a1 1 0 0 1 1 1",
  check: "m5 12.5 4.5 4.5L19 7.5",
  away: "M4 4l16 16M8.5 5.5h9a2 2 0 0 1 2 2v9M4.5 7.5v9a2 2 0 0 0 2 2h10",
  search: "M11 4.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13Zm5 11.5 4.5 4.5",
};

export const fileName = (path) => path.split(/[\\/]/).pop() || path;

// A long path breaks behind its slashes, not in the middle of a name.
export const breakable = (path) => path.split(/(?<=[\\/])/).flatMap((part) => [part, make("wbr")]);
