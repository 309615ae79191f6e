// Who wants to know of the last answer: hears of it after each search, with what was asked.

const listeners = [];

export const onAnswer = (listener) => listeners.push(listener);

export function answered(answer, asked) {
  for (const listener of listeners) listener(answer, asked);
}
