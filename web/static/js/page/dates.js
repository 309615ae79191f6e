// Days, months and years as the query language writes them: `2021-06-30`, `2021-06`, `2021`.

// The day so many days later.
export function shifted(day, days) {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  return date.toISOString().slice(0, 10);
}

// What the query language can say: years of four digits.
export const FIRST = "0001-01-01";
export const LAST = "9998-12-31"; // the day behind it can be said, too

// With two digits where people type one.
const written = (period) => period.split("-").map((part, at) => part.padStart(at ? 2 : 4, "0")).join("-");

export const firstDay = (period) => `${written(period)}-01-01`.slice(0, 10);

// The day, month or year behind it.
export function following(period) {
  const [year, month, day] = written(period).split("-");
  if (day) return shifted(written(period), 1);
  if (!month) return String(+year + 1).padStart(4, "0");
  return month === "12" ? `${following(year)}-01` : `${year}-${String(+month + 1).padStart(2, "0")}`;
}
