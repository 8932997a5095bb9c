/** How far something is, as a bar with words. */

import { el } from "./dom.js";
import { count } from "./format.js";
import { orderedStatuses, statusName, statusStyle } from "./states.js";

/**
 * A bar of the runs of a batch: a part for each status that has settled, the rest is at work.
 *
 * @param {?{expected: number, settled: number, by_status: Object<string, number>, summary: string}} progress
 * @param {string} label of what it is the progress.
 */
export function progressBar(progress, label) {
  if (!progress?.expected) {
    return el("div", { class: "bar", role: "progressbar", "aria-label": label, "aria-valuetext": "not known yet" });
  }
  const { expected, settled } = progress;
  const parts = orderedStatuses(Object.keys(progress.by_status)).filter(
    (status) => !["PENDING", "PROCESSING", "CANCELLING"].includes(status),
  );
  const bar = el("div", {
    class: "bar",
    role: "progressbar",
    "aria-label": label,
    "aria-valuemin": 0,
    "aria-valuemax": expected,
    "aria-valuenow": settled,
    "aria-valuetext": progress.summary,
    title: parts.map((status) => `${statusName(status)}: ${count(progress.by_status[status])}`).join(", ") || progress.summary,
  });
  for (const status of parts) {
    const part = el("span", { class: statusStyle(status) });
    part.style.width = `${(100 * progress.by_status[status]) / Math.max(expected, progress.listed ?? 0)}%`;
    bar.append(part);
  }
  return bar;
}
