/** States of documents, runs and pipelines, as a person reads them. The words count; the colours only help. */

import { el } from "./dom.js";

/** Statuses of documents, in the order of a chart from the bottom up. */
const STATUSES = {
  PROCESSED: ["Processed", "good"],
  NEEDS_REVIEW: ["In review", "review"],
  REJECTED: ["Rejected", "rejected"],
  FAILED: ["Failed", "bad"],
  CANCELLED: ["Cancelled", "cancelled"],
  SKIPPED: ["Not sent", "skipped"],
};

const RUNS = {
  success: ["Success", "good"],
  failed: ["Failed", "bad"],
  running: ["Running", "work"],
  queued: ["Queued", "waits"],
};

/** What each task of the pipeline does while it is at work. */
const STEPS = {
  discover: "Listing documents",
  plan: "Planning",
  submit: "Sending to Extend",
  wait: "Waiting for Extend",
  collect: "Fetching results",
  load: "Landing",
  finish: "Adding up",
  held: "Looking for documents to approve",
  approve: "Waiting for an approval",
  release: "Applying the approval",
};
const TASK_STATES = {
  queued: "queued",
  scheduled: "about to start",
  up_for_retry: "will try again",
  up_for_reschedule: "waiting for the warehouse",
  deferred: "waiting",
  awaiting_input: "waiting for a person",
};

/** All statuses that are known, in order, then those that are not. */
export function orderedStatuses(found) {
  const known = Object.keys(STATUSES).filter((status) => found.includes(status));
  return [...known, ...found.filter((status) => !(status in STATUSES)).sort()];
}

/** "In review" for NEEDS_REVIEW; an unknown status as Extend spells it. */
export const statusName = (status) => STATUSES[status]?.[0] ?? status ?? "Unknown";

/** The class of a status' colour. */
export const statusStyle = (status) => STATUSES[status]?.[1] ?? "other";

/** A document's status as a chip. */
export const statusChip = (status) => chip(statusName(status), statusStyle(status));

/** A run's state as a chip. */
export function runChip(state) {
  const [name, style] = RUNS[state] ?? [state, "other"];
  return chip(name, style);
}

/** The class of a run's colour. */
export const runStyle = (state) => RUNS[state]?.[1] ?? "other";

/** What a task does, in words: "Landing, will try again". */
export function stepName(step, state) {
  const doing = STEPS[step] ?? step;
  return TASK_STATES[state] && !["wait", "approve"].includes(step) ? `${doing}, ${TASK_STATES[state]}` : doing;
}

/** A word with a coloured dot. */
export function chip(text, style) {
  return el("span", { class: `chip ${style}` }, text);
}
