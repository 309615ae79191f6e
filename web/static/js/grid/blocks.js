// The hits of one answer, of any length: asked for in blocks as they come near, and not kept for ever.

import { ApiError } from "../page/api.js";

export const SIZE = 100; // hits in a block
const KEPT = 60; // blocks whose hits are remembered, at some 100 kB each: the last that were looked at
const AT_ONCE = 2; // requests under way; they are answered faster than they can be looked at

const STOPPED = new DOMException("not asked for any more", "AbortError");

export class Blocks {
  // ask(offset, listing, signal): a promise of an answer of the API. `first`: the answer from `number` * SIZE on, that is there
  // already. came(number) is called for each block that comes, resized() when there are more or fewer hits than was said.
  constructor({ ask, first, number, came, resized, failed }) {
    Object.assign(this, { ask, came, resized, failed });
    this.total = first.total;
    this.leftOut = first.left_out;
    this.listing = first.listing; // of which answer further blocks are asked, so that they fit together
    this.anyLess = false; // some of the hits that were seen fit less
    this.halted = false; // a request failed: do not ask again by scrolling
    this.kept = new Map(); // by number, the least recently used first
    this.places = new Map(); // of each photo, also of those behind another of their moment
    this.running = new Map(); // by number: { controller, promise, awaited }
    this.wanted = [];
    this.keep(number, first);
  }

  get count() { return Math.ceil(this.total / SIZE); }

  // How many hits the block has, or will have.
  sizeOf(number) { return this.kept.get(number)?.length ?? Math.max(0, Math.min(SIZE, this.total - number * SIZE)); }

  hits(number) {
    const hits = this.kept.get(number);
    if (!hits) return null;
    this.kept.delete(number);
    this.kept.set(number, hits);
    return hits;
  }

  hit(place) { return this.kept.get(Math.floor(place / SIZE))?.[place % SIZE] ?? null; }

  // Where the photo is, itself or behind another of its moment; -1: nowhere that is known.
  placeOf(id) { return this.places.get(id) ?? -1; }

  // The blocks that are near, the nearest first: what else was asked for and is awaited by nobody is given up.
  want(numbers) {
    this.wanted = numbers.filter((number) => number >= 0 && number < this.count && !this.kept.has(number));
    for (const [number, request] of this.running) {
      if (!request.awaited && !this.wanted.includes(number)) this.giveUp(number, request);
    }
    this.askOn();
  }

  // Its hits, asked for if need be; null where there is no such block. Fails as a search does.
  async load(number) {
    if (number < 0 || number >= this.count) return null;
    const hits = this.hits(number);
    if (hits) return hits;
    const request = this.running.get(number) ?? this.start(number);
    request.awaited = true;
    await request.promise;
    return this.hits(number);
  }

  // The place of the hit `by` (1 or -1) further on from `place`; -1 where there is none.
  async beside(place, by) {
    const number = Math.floor(place / SIZE);
    const hits = await this.load(number);
    const next = (place % SIZE) + by;
    if (hits && next >= 0 && next < hits.length) return place + by;
    for (let other = number + by; ; other += by) {
      const found = await this.load(other);
      if (!found) return -1;
      if (found.length) return other * SIZE + (by > 0 ? 0 : found.length - 1);
    }
  }

  resume() {
    this.halted = false;
    this.askOn();
  }

  stop() {
    this.wanted = [];
    for (const [number, request] of this.running) this.giveUp(number, request);
  }

  giveUp(number, request) {
    this.running.delete(number);
    request.controller.abort(STOPPED);
  }

  askOn() {
    for (const number of this.wanted) {
      if (this.halted || this.running.size >= AT_ONCE) return;
      if (this.running.has(number)) continue;
      this.start(number).promise.catch((error) => {
        if (error.name !== "AbortError" && !(error instanceof ApiError)) throw error; // else failed() has said it
      });
    }
  }

  start(number) {
    const controller = new AbortController();
    const request = { controller, awaited: false, promise: null };
    const ended = () => {
      if (this.running.get(number) === request) this.running.delete(number);
    };
    this.running.set(number, request);
    request.promise = this.ask(number * SIZE, this.listing, controller.signal).then(
      (answer) => {
        ended();
        controller.signal.throwIfAborted();
        this.take(number, answer);
        this.askOn();
      },
      (error) => {
        ended();
        if (error instanceof ApiError) {
          this.halted = true;
          this.failed(error);
        }
        throw error;
      },
    );
    return request;
  }

  take(number, answer) {
    const before = this.total;
    if (this.listing && answer.listing && answer.listing !== this.listing) this.forget();
    this.listing = answer.listing ?? this.listing;
    this.total = answer.total;
    this.wanted = this.wanted.filter((each) => each !== number);
    this.keep(number, answer);
    if (before !== this.total) {
      this.dropEnd(before, number);
      this.resized();
    }
    this.came(number);
  }

  keep(number, answer) {
    // A photo that has come into the index meanwhile may move another into a second block: it is shown once.
    const hits = answer.hits.filter((hit) => {
      const place = this.places.get(hit.id);
      return place === undefined || Math.floor(place / SIZE) === number;
    });
    this.drop(number);
    this.kept.set(number, hits);
    hits.forEach((hit, i) => {
      this.anyLess ||= !hit.relevant;
      for (const id of [hit.id, ...hit.others]) this.places.set(id, number * SIZE + i);
    });
    if (this.kept.size > KEPT) this.drop(this.kept.keys().next().value);
  }

  drop(number) {
    for (const hit of this.kept.get(number) ?? []) {
      for (const id of [hit.id, ...hit.others]) {
        if (Math.floor(this.places.get(id) / SIZE) === number) this.places.delete(id);
      }
    }
    this.kept.delete(number);
  }

  // The server knows the first answer no more: what is remembered of it does not fit to what comes.
  forget() {
    this.kept.clear();
    this.places.clear();
  }

  // The block that was the last may have more or fewer hits now.
  dropEnd(before, except) {
    const last = Math.max(0, Math.ceil(before / SIZE) - 1);
    for (const number of [...this.kept.keys()]) {
      if (number !== except && (number >= this.count || (number === last && before % SIZE))) this.drop(number);
    }
  }
}
