// Where each block of the grid stands: exactly where its photos are known, by an estimate where they are not yet.

import { SIZE } from "./blocks.js";
import { justify } from "./justify.js";

// Panoramas and strips are cropped in the grid, so that one photo cannot take a whole row or a sliver.
const NARROWEST = 0.56;
const WIDEST = 2.4;
const TYPICAL = 1.4; // width / height, until some photos are known
// No browser draws boxes of any height: Firefox stops first, at 17.9 million pixels. Some 300,000 photos fit on a wide screen.
const HIGHEST = 16e6;

const ratioOf = (hit) => Math.min(WIDEST, Math.max(NARROWEST, (hit.width || 4) / (hit.height || 3)));

export class Stack {
  // shape: { width, height (of a row, as wished), gap }
  constructor(blocks, shape) {
    this.blocks = blocks;
    this.ratios = new Map(); // of each block that was ever seen; its hits may be forgotten since
    this.layouts = new Map(); // of the blocks that were asked for lately
    this.reshape(shape);
  }

  reshape(shape) {
    this.shape = shape;
    this.layouts.clear();
    for (const number of [...this.ratios.keys()]) if (number >= this.blocks.count) this.ratios.delete(number);
    const known = new Map([...this.ratios.keys()].map((number) => [number, this.compute(number).height]));
    const photos = [...known.keys()].reduce((sum, number) => sum + this.ratios.get(number).length, 0);
    const { width, height, gap } = shape;
    const guess = ((TYPICAL * height + gap) / (width + gap)) * (height + gap);
    this.each = photos ? [...known.values()].reduce((sum, high) => sum + high, 0) / photos : guess; // height for each photo
    this.count = Math.min(this.blocks.count, Math.max(1, Math.floor(HIGHEST / (this.each * SIZE))));
    this.heights = Array.from({ length: this.count }, (_, number) => known.get(number) ?? this.estimate(number));
    this.tops = new Float64Array(this.count + 1);
    this.pile(0);
  }

  estimate(number) { return Math.round(this.each * this.blocks.sizeOf(number)); }

  pile(from) {
    for (let number = from; number < this.count; number++) this.tops[number + 1] = this.tops[number] + this.heights[number];
  }

  get height() { return this.tops[this.count]; }

  exact(number) { return this.ratios.has(number); }

  // The block's photos have come: by how much it is higher than it was thought to be.
  learn(number) {
    if (number >= this.count) return 0;
    const nothingKnown = this.ratios.size === 0;
    this.ratios.set(number, this.blocks.hits(number).map(ratioOf));
    this.layouts.delete(number);
    if (nothingKnown) {
      this.reshape(this.shape); // all that is estimated is so from what is known now
      return 0;
    }
    const before = this.heights[number];
    this.heights[number] = this.compute(number).height;
    this.pile(number);
    return this.heights[number] - before;
  }

  compute(number) { return justify(this.ratios.get(number), { ...this.shape, ends: number === this.blocks.count - 1 }); }

  // Of a block whose photos are known: as justify() gives it.
  layout(number) {
    let layout = this.layouts.get(number);
    if (!layout) {
      layout = this.compute(number);
      this.layouts.set(number, layout);
      if (this.layouts.size > 12) this.layouts.delete(this.layouts.keys().next().value);
    }
    return layout;
  }

  // The number of the block at `y`, the first or the last if it lies outside.
  at(y) {
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // Of the photo at `place`: { top, height } of its row, as far as that is known.
  spot(place) {
    const number = Math.min(Math.floor(place / SIZE), this.count - 1);
    if (!this.exact(number)) {
      const part = (place - number * SIZE) / Math.max(1, this.blocks.sizeOf(number));
      return { top: this.tops[number] + Math.round(part * this.heights[number]), height: this.shape.height };
    }
    const { boxes, rows } = this.layout(number);
    const row = rows[boxes[Math.min(place - number * SIZE, boxes.length - 1)]?.row ?? 0];
    return { top: this.tops[number] + (row?.top ?? 0), height: row?.height ?? 0 };
  }

  // The place of the first photo in the row at `y`.
  placeAt(y) {
    const number = this.at(y);
    if (!this.exact(number)) {
      const part = Math.max(0, Math.min(1, (y - this.tops[number]) / Math.max(1, this.heights[number])));
      return number * SIZE + Math.floor(part * Math.max(0, this.blocks.sizeOf(number) - 1));
    }
    const { rows } = this.layout(number);
    const row = rows.find(({ top, height }) => this.tops[number] + top + height > y) ?? rows.at(-1);
    return number * SIZE + (row?.from ?? 0);
  }
}
