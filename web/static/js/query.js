// Changing a query's text by what the server understood of it. Its places count characters (code points), as Array.from
// does, not the halves of which some consist.

// `conditions` are those of the answer to `q`.
export function without(q, conditions, drop) {
  const characters = Array.from(q);
  const gone = conditions.filter(drop).sort((one, other) => other.start - one.start);
  for (const { start, end } of gone) characters.splice(start, end - start);
  return characters.join("").replace(/\s+/g, " ").trim();
}

export const and = (q, filter) => `${q.trim()} ${filter}`.trim();

// A filter as it stands in a query.
export const filter = (key, value) => `${key}:${/\s/.test(value) ? `"${value}"` : value}`;

export const isFilter = (condition, key, value) =>
  condition.key === key && !condition.negative && condition.value.toLowerCase() === value.toLowerCase();
