// Changing a query's text by what the server understood of it. Its places count characters (code points), as Array.from
// does, not the halves of which some consist.

// `conditions` are those of the answer to `asked`, of which `q` may be what someone has made since.
export function without(q, asked, conditions, drop) {
  const characters = Array.from(asked);
  let left = q;
  for (const { start, end } of conditions.filter(drop).sort((one, other) => other.start - one.start)) {
    const [before, written, after] = [characters.slice(0, start), characters.slice(start, end), characters.slice(end)].map((part) => part.join(""));
    left = left.startsWith(before + written) && left.endsWith(after) ? before + left.slice(before.length + written.length) : left.replace(written, "");
  }
  return left.replace(/\s+/g, " ").trim();
}

// The photos of which it is not known when they were taken.
export const WITHOUT_DATE = "-after:0001";

export const and = (q, filter) => `${q.trim()} ${filter}`.trim();

// A filter as it stands in a query.
export const filter = (key, value) => `${key}:${/\s/.test(value) ? `"${value}"` : value}`;

export const isFilter = (condition, key, value) =>
  condition.key === key && !condition.negative && condition.value.toLowerCase() === value.toLowerCase();
