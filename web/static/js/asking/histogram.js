// When the hits were taken: a bar for each day, month or year. A click takes one of them, a drag all between two.

import { following } from "../page/dates.js";
import { make } from "../page/dom.js";
import { formatPeriod } from "../page/formats.js";
import { S } from "../page/strings.js";

const HEIGHT = 64; // px, of the highest bar
const MOST = 130; // bars, which the panel has the room for
const LEAST = 3; // px, so that one photo among thousands shows

// Every day, month or year from the first to the last, those without a photo too.
function filled({ counts }) {
  const photos = new Map(counts.map((each) => [each.on, each.photos]));
  const last = counts.at(-1).on;
  const bars = [];
  for (let on = counts[0].on; bars.length < MOST; on = following(on)) {
    bars.push({ on, photos: photos.get(on) ?? 0 });
    if (on === last) return bars;
  }
  return counts; // a clock that was centuries off: its photos stand beside the others
}

// `choose` hears of the first day, month or year that is wanted and of the one behind the last.
export function histogram(dates, choose) {
  const bars = filled(dates);
  const most = Math.max(...bars.map((bar) => bar.photos));
  const said = make("p", { class: "said", "aria-hidden": "true" }, range(0, bars.length - 1));
  const columns = bars.map(({ photos }) => {
    const bar = make("i");
    bar.style.height = photos ? `${Math.max(LEAST, Math.round((HEIGHT * photos) / most))}px` : "0";
    return make("span", {}, bar);
  });
  const label = S.histogram(formatPeriod(bars[0].on), formatPeriod(bars.at(-1).on));
  const chart = make("div", { class: "bars", role: "img", "aria-label": label }, ...columns);

  function range(from, to) {
    const photos = bars.slice(from, to + 1).reduce((sum, bar) => sum + bar.photos, 0);
    const name = from === to ? formatPeriod(bars[from].on) : S.fromTo(formatPeriod(bars[from].on), formatPeriod(bars[to].on));
    return `${name} · ${S.found(photos)}`;
  }
  const placeAt = (event) => {
    const { left, width } = chart.getBoundingClientRect();
    return Math.min(bars.length - 1, Math.max(0, Math.floor(((event.clientX - left) / width) * bars.length)));
  };
  let from = null;
  const mark = (first, last) => {
    columns.forEach((column, at) => column.classList.toggle("in", at >= first && at <= last));
    said.textContent = range(first, last);
  };
  const unmark = () => { from = null; mark(-1, -2); said.textContent = range(0, bars.length - 1); };
  chart.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    chart.setPointerCapture(event.pointerId);
    from = placeAt(event);
    mark(from, from);
  });
  chart.addEventListener("pointermove", (event) => {
    const here = placeAt(event);
    mark(Math.min(here, from ?? here), Math.max(here, from ?? here));
  });
  chart.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const [first, last] = [from, placeAt(event)].sort((one, other) => one - other);
    from = null;
    choose(bars[first].on, following(bars[last].on));
  });
  chart.addEventListener("pointerleave", () => { if (from === null) unmark(); });
  chart.addEventListener("pointercancel", unmark);
  return make("div", { class: "histogram" }, chart, said);
}
