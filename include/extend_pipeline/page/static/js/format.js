/** Numbers and times as a person reads them: times in the browser's zone, with UTC on hover. */

import { el } from "./dom.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const dayName = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

/** 12,345 */
export const count = (value) => whole.format(value ?? 0);

/** 12.5 credits; a dash where none are known. */
export const credits = (value) => (value === null || value === undefined ? "–" : exact.format(Number(value)));

/** 1.2K, for the axis of a chart. */
export const compact = (value) => short.format(value);

/** "1 document", "1,200 documents". */
export const documents = (value) => `${count(value)} ${value === 1 ? "document" : "documents"}`;

/** A day "2026-11-27" as "27 Nov". */
export const day = (value) => dayName.format(new Date(`${value}T00:00:00Z`));

/** 87% of a confidence from 0 to 1. */
export const percent = (value) => `${(value * 100).toFixed(value > 0.995 && value < 1 ? 1 : 0)}%`;

/** "3 minutes ago", with the whole time on hover; a dash for null. */
export function ago(value, now = Date.now()) {
  if (!value) return "–";
  return el("time", { datetime: value, title: fullTime(value), "data-ago": true }, since(value, now));
}

/** Keep what `ago` has shown true, for as long as the page is open. */
export function keepAgo(seconds = 10) {
  setInterval(() => {
    for (const shown of document.querySelectorAll("time[data-ago]")) {
      const text = since(shown.dateTime, Date.now());
      if (shown.textContent !== text) shown.textContent = text;
    }
  }, seconds * 1000);
}

/** "27 Nov 2026, 10:15:03". */
export function time(value) {
  if (!value) return "–";
  return el("time", { datetime: value, title: fullTime(value) }, moment.format(new Date(value)));
}

function fullTime(value) {
  return `${moment.format(new Date(value))} (${new Date(value).toISOString()})`;
}

function since(value, now) {
  const seconds = (new Date(value).getTime() - now) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length || unit === "second") return relative.format(Math.round(seconds / length), unit);
  }
  return "";
}

/** "2 h 5 min", "14 s" between two times; the second may be now. */
export function duration(from, to) {
  if (!from) return "–";
  const seconds = Math.max(0, Math.round(((to ? new Date(to) : Date.now()) - new Date(from)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** 14.2 kB. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["bytes", "kB", "MB", "GB"];
  let size = value;
  let unit = 0;
  for (; size >= 1000 && unit < units.length - 1; unit += 1) size /= 1000;
  return `${unit ? size.toFixed(1) : size} ${units[unit]}`;
}

/** The last part of an address, which is the file's name. */
export function fileName(address) {
  return address?.split("/").filter(Boolean).pop() ?? "";
}
