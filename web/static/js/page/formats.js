// Numbers, sizes, dates and times as the language of the page writes them.

import { LANGUAGE } from "./language.js";

export const number = new Intl.NumberFormat(LANGUAGE);

// Of a hundred; what is nearly all is told apart from all.
export const percentage = (value) => new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: value > 99 && value < 100 ? 2 : 0 }).format(value);

export function formatBytes(count) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; count >= 1000 && unit < 3; unit++) count /= 1000;
  return `${count < 10 && unit > 0 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

// Date.UTC takes the year 21 for 1921.
function utc(year, month, day, hour = 0, minute = 0) {
  const date = new Date(Date.UTC(2000, month - 1, day, hour, minute));
  date.setUTCFullYear(year, month - 1, day);
  return date;
}

export function formatDate(iso) {
  // A time without an offset is the camera's wall clock: it is shown as written, never shifted.
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d))?/.exec(iso);
  if (!match) return iso;
  const [, year, month, day, hour, minute] = match;
  const date = utc(+year, +month, +day, +(hour ?? 0), +(minute ?? 0));
  const options = { dateStyle: "long", timeZone: "UTC" };
  if (hour) options.timeStyle = "short";
  return new Intl.DateTimeFormat(LANGUAGE, options).format(date);
}

// A day, a month or a year as the query language writes it.
export function formatPeriod(period, { long = false } = {}) {
  const [year, month, day] = period.split("-").map(Number);
  const options = { timeZone: "UTC", year: "numeric", ...(month && { month: long ? "long" : "short" }), ...(day && { day: "numeric" }) };
  const date = utc(year, month ?? 1, day ?? 1);
  return Number.isNaN(date.getTime()) ? period : new Intl.DateTimeFormat(LANGUAGE, options).format(date);
}

// Of a month its name alone; of a day the day of the week with it.
const firstOf = (period) => new Date(`${`${period}-01`.slice(0, 10)}T00:00:00Z`);
export const monthName = (month, { short = false } = {}) => new Intl.DateTimeFormat(LANGUAGE, { month: short ? "short" : "long", timeZone: "UTC" }).format(firstOf(month));
export const dayName = (day) => new Intl.DateTimeFormat(LANGUAGE, { weekday: "short", day: "numeric", timeZone: "UTC" }).format(firstOf(day));

const day = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeZone: "UTC" });
const month = new Intl.DateTimeFormat(LANGUAGE, { month: "short", year: "numeric", timeZone: "UTC" });

// The day, or the month alone, as short as can be; nothing where that cannot be told.
export function formatDay(iso, { monthAlone = false } = {}) {
  const time = Date.parse(`${iso.slice(0, 10)}T00:00:00Z`);
  return Number.isNaN(time) ? "" : (monthAlone ? month : day).format(time);
}

// What the server's own clock wrote is UTC, and is shown in the time of the person who looks.
const moment = (iso) => Date.parse(/[zZ]$|[+-]\d\d:?\d\d$/.test(iso) ? iso : `${iso.replace(" ", "T")}Z`);

export function formatMoment(iso) {
  const time = moment(iso);
  return Number.isNaN(time) ? iso : new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "long", timeStyle: "short" }).format(time);
}

// About, in the largest unit of which there are two or more.
export function duration(seconds) {
  const steps = [["day", 86400], ["hour", 3600], ["minute", 60]];
  const [unit, length] = steps.find(([, length]) => seconds >= 2 * length) ?? ["second", 1];
  const format = new Intl.NumberFormat(LANGUAGE, { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 });
  return format.format(Math.max(1, Math.round(seconds / length)));
}

export function ago(iso) {
  const seconds = (moment(iso) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return iso;
  const format = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
  const steps = [["day", 86400], ["hour", 3600], ["minute", 60]];
  for (const [unit, length] of steps) {
    if (Math.abs(seconds) >= length) return format.format(Math.round(seconds / length), unit);
  }
  return format.format(0, "minute");
}
