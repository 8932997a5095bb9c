/** Runs and batches at work, live from Airflow's REST API. */

import { latestRuns, workOf } from "../airflow.js";
import { progressBar } from "../bar.js";
import { el, number, refreshed, row, table } from "../dom.js";
import { ago, count, credits, documents, duration, time } from "../format.js";
import { runLink } from "../links.js";
import { empty } from "../notices.js";
import { whileSeen } from "../refresh.js";
import { runChip, stepName } from "../states.js";

const RUNS = 10;
const BUSY_SECONDS = 3;
const IDLE_SECONDS = 10;

/**
 * Show what is at work, and the latest runs, for as long as the view is shown.
 *
 * @param {HTMLElement} place
 * @param {object} context
 * @param {{runs: Array}} known figures of earlier runs, from the overview.
 * @returns {function(): void} draws the runs again, with newer figures.
 */
export function runsAtWork(place, { pipeline, signal, failed, runEnded }, known) {
  const [work, latest] = [el("div", {}, empty("Asking Airflow…")), el("div")];
  place.append(el("h2", {}, "At work"), work, el("h2", {}, "Latest runs"), latest);
  let runs = null; // not known yet
  const drawRuns = () => {
    if (!runs) return;
    const figures = new Map(known.runs.map((run) => [run.run_id, run]));
    refreshed(latest, runs.map((run) => ({ run, figures: figures.get(run.dag_run_id) })), drawLatest);
  };
  const look = async () => {
    const before = runs ?? [];
    runs = (await latestRuns(pipeline.dag_id, RUNS, signal)).map(essence);
    const active = runs.filter((run) => !run.end_date);
    const found = await Promise.all(
      active.map(async (run) => ({ run, work: run.state === "running" ? await workOf(run.dag_run_id, pipeline, signal) : null })),
    );
    refreshed(work, found.length ? found : runs.slice(0, 1), () => (found.length ? found.map(drawRun) : idle(runs[0])));
    drawRuns();
    if (hasEnded(before, runs)) runEnded();
    return active.length ? BUSY_SECONDS : IDLE_SECONDS;
  };
  whileSeen(look, IDLE_SECONDS, signal, failed);
  return drawRuns;
}

function essence({ dag_id, dag_run_id, state, run_type, run_after, start_date, end_date }) {
  return { dag_id, dag_run_id, state, run_type, run_after, start_date, end_date: ["success", "failed"].includes(state) ? end_date ?? run_after : null };
}

function hasEnded(before, after) {
  const active = new Set(before.filter((run) => !run.end_date).map((run) => run.dag_run_id));
  return after.some((run) => run.end_date && active.has(run.dag_run_id));
}

function idle(last) {
  if (!last) return empty("There has been no run yet. Unpause the DAG, or trigger it.");
  return empty("No run is at work. The last one ended ", ago(last.end_date), ".");
}

function drawRun({ run, work }) {
  const batches = work?.batches ?? [];
  return el(
    "article",
    { class: "run" },
    el(
      "header",
      {},
      runChip(run.state),
      runLink(run.dag_id, run.dag_run_id, run.dag_run_id, { class: "name", "data-key": run.dag_run_id }),
      el("span", { class: "quiet" }, run.start_date ? ["began ", ago(run.start_date)] : "not begun"),
      el("span", { class: "quiet" }, planned(work?.plan)),
    ),
    steps(run, work),
    batches.length ? batchTable(run, batches, work.more) : null,
  );
}

function planned(plan) {
  if (!plan) return null;
  const cost = plan.credits === null ? "" : `, about ${credits(plan.credits)} credits`;
  return plan.dry_run ? "dry run: nothing is sent" : `${documents(plan.to_send)} to send in ${count(plan.chunks)} ${plan.chunks === 1 ? "chunk" : "chunks"}${cost}`;
}

function steps(run, work) {
  if (run.state === "queued") return el("p", {}, "Queued: Airflow has not begun it. Is the DAG paused, or has it as many runs as it may?");
  if (!work?.steps.length) return null;
  const words = work.steps.map(({ step, state, tasks }) => stepName(step, state) + (tasks > 1 ? ` (${count(tasks)})` : ""));
  return el("p", { class: "steps" }, words.join(" · "));
}

function batchTable(run, batches, more) {
  const rows = batches.map(({ index, progress, since }) => {
    const name = index < 0 ? "Batch" : `Batch ${index + 1}`;
    return row(
      {},
      el("th", { scope: "row" }, name),
      el("td", { class: "progress" }, progressBar(progress, `${name} of ${run.dag_run_id}`)),
      el("td", { class: "wide" }, progress?.summary ?? "Extend has it; its first count follows"),
      el("td", {}, ago(since)),
    );
  });
  return [
    table(`Batches of ${run.dag_run_id}`, ["Batch", "Progress", "Runs at Extend", "Sent"], rows),
    more ? el("p", { class: "quiet" }, `${count(more)} more tasks are at work; Airflow's page of the run has all.`) : null,
  ];
}

function drawLatest(runs) {
  if (!runs.length) return empty("none");
  const columns = ["Run", "State", "Began", { name: "Took", number: true }, { name: "Documents", number: true }, { name: "Failed", number: true }, { name: "In review", number: true }, { name: "Credits", number: true }];
  const rows = runs.map(({ run, figures }) => {
    const landed = figures?.by_status;
    const all = landed ? Object.values(landed).reduce((sum, value) => sum + value, 0) : null;
    return row(
      {},
      el("th", { scope: "row", class: "run-id" }, runLink(run.dag_id, run.dag_run_id, run.dag_run_id, { "data-key": `latest-${run.dag_run_id}`, title: run.dag_run_id })),
      runChip(run.state),
      time(run.start_date),
      number(run.end_date ? duration(run.start_date, run.end_date) : "–"),
      number(all === null ? "–" : count(all)),
      number(landed ? count(landed.FAILED) : "–"),
      number(landed ? count(landed.NEEDS_REVIEW) : "–"),
      number(credits(figures?.credits)),
    );
  });
  return table("Latest runs", columns, rows);
}
