// Which photos are selected: by id, for their tiles come and go as one scrolls.

export const MOST = 1000; // the server's own limit for an archive

const chosen = new Map(); // by id: the hit
const listeners = [];

export const has = (id) => chosen.has(id);
export const size = () => chosen.size;
export const hits = () => [...chosen.values()];
export const ids = () => [...chosen.keys()];
export const onChange = (listener) => listeners.push(listener);

const changed = () => { for (const listener of listeners) listener(); };

// false: they would be too many, and nothing was changed.
export function add(hits) {
  const further = hits.filter((hit) => !chosen.has(hit.id));
  if (chosen.size + further.length > MOST) return false;
  for (const hit of further) chosen.set(hit.id, hit);
  changed();
  return true;
}

export function toggle(hit) {
  if (!chosen.delete(hit.id)) return add([hit]);
  changed();
  return true;
}

export function clear() {
  if (!chosen.size) return;
  chosen.clear();
  changed();
}
