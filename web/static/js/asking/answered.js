// Who wants to know of the last answer hears of it after each search, with what was asked; of null where there was none.
// What hits have in common may be asked for later, and is heard of by itself.

const listeners = [];
const counters = [];

export const onAnswer = (listener) => listeners.push(listener);
export const onFacets = (listener) => counters.push(listener);

export function answered(answer, asked = null) {
  for (const listener of listeners) listener(answer, asked);
  counted(answer, asked);
}

export function counted(answer, asked) {
  for (const listener of counters) listener(answer, asked);
}
