// Rows of photos that end flush: the breaks of all rows are chosen together, as Knuth and Plass choose those of a
// paragraph ("Breaking paragraphs into lines", 1981), so that each row is about as high as wished.

// All in parts of the wished height. A row that would have to be higher than this to be full keeps the wished height instead,
// and ends early: in a block of hardly any photos, and, far sooner, where the answer ends.
const HIGHEST = 1.8;
const HIGHEST_AT_END = 1.25;
const LOWEST = 0.45; // rows are never packed tighter

// ratios: width / height of each photo. With `ends` nothing comes after these rows. Whole pixels throughout, so that
// edges are sharp. Returns { height, rows: [{ top, height, from, to }], boxes: [{ left, width, row }] }; `height` has the
// gap below the last row.
export function justify(ratios, { width, height: wished, gap, ends = false }) {
  const starts = breaks(ratios, width, wished, gap, ends);
  const rows = [];
  const boxes = [];
  let top = 0;
  starts.forEach((from, index) => {
    const to = starts[index + 1] ?? ratios.length;
    let share = 0;
    for (let i = from; i < to; i++) share += ratios[i];
    const room = Math.max(1, width - gap * (to - from - 1));
    const filling = room / share;
    const full = filling <= wished * (ends && to === ratios.length ? HIGHEST_AT_END : HIGHEST);
    const exact = full ? filling : wished;
    const height = Math.max(1, Math.round(exact));
    let before = 0;
    for (let i = from; i < to; i++) {
      const left = Math.round(exact * before + gap * (i - from));
      before += ratios[i];
      const right = full && i === to - 1 ? width : Math.round(exact * before + gap * (i - from));
      boxes.push({ left, width: Math.max(1, right - left), row: index });
    }
    rows.push({ top, height, from, to });
    top += height + gap;
  });
  return { height: top, rows, boxes };
}

// Where each row begins: of all ways to break, that with the least sum of squared log ratios of row height to `wished`.
function breaks(ratios, width, wished, gap, ends) {
  const count = ratios.length;
  const cost = new Float64Array(count + 1).fill(Infinity);
  const start = new Int32Array(count + 1);
  cost[0] = 0;
  for (let to = 1; to <= count; to++) {
    let share = 0;
    for (let from = to - 1; from >= 0; from--) {
      share += ratios[from];
      const height = (width - gap * (to - from - 1)) / share;
      if (height < wished * LOWEST && from < to - 1) break;
      const short = ends && to === count && height > wished * HIGHEST_AT_END;
      const sum = cost[from] + (short ? 0 : Math.log(Math.max(height, 1) / wished) ** 2);
      if (sum < cost[to]) {
        cost[to] = sum;
        start[to] = from;
      }
    }
  }
  const starts = [];
  for (let to = count; to > 0; to = start[to]) starts.push(start[to]);
  return starts.reverse();
}
