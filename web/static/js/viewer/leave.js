// From the viewer to a search of its own.

import * as state from "../page/state.js";

export const search = (asked) => ({ ...state.NOTHING, apart: state.get().apart, ...asked });

export function leaveFor(asked) {
  state.set(search(asked));
  scrollTo({ top: 0 });
}
