/** What the page asks Airflow's REST API: runs, tasks at work, and starting a run. */

import { fromAirflow, postToAirflow, Problem } from "./http.js";

/** States of a task that has neither ended nor is far from beginning. */
const AT_WORK = ["running", "deferred", "queued", "scheduled", "up_for_retry", "up_for_reschedule", "awaiting_input"];

/** The XComs in which the task that waits for a batch shows its progress, and `plan` shows what is sent. */
const PROGRESS = "progress";
const PLAN = "plan";

/** How many tasks of a run are listed; a run has no more batches at Extend than its pool has slots. */
const LISTED = 50;

/** The newest runs of a DAG. */
export async function latestRuns(dagId, limit, signal) {
  const query = { limit, order_by: "-run_after" };
  return (await fromAirflow(["dags", dagId, "dagRuns"], query, signal)).dag_runs;
}

/** One run. */
export function dagRun(dagId, runId, signal) {
  return fromAirflow(["dags", dagId, "dagRuns", runId], {}, signal);
}

/** A DAG: whether it is paused, for example; null if there is none, or the user may not read it. */
export async function dagOrNull(dagId, signal) {
  try {
    return await fromAirflow(["dags", dagId], {}, signal);
  } catch (problem) {
    if (problem instanceof Problem && [403, 404].includes(problem.status)) return null;
    throw problem;
  }
}

/** Start a run. A run without a logical date never clashes with another one. */
export function startRun(dagId, conf, note) {
  return postToAirflow(["dags", dagId, "dagRuns"], { logical_date: null, conf, note });
}

/**
 * What a run is doing: its steps at work, and its batches at Extend with their progress.
 *
 * @param {string} runId
 * @param {object} pipeline as `api/pipelines` has it: the DAG, the task group, and the ids of its tasks.
 * @returns {Promise<{steps: Array, batches: Array, more: number, plan: ?object}>}
 */
export async function workOf(runId, pipeline, signal) {
  const path = ["dags", pipeline.dag_id, "dagRuns", runId, "taskInstances"];
  const [listed, plan] = await Promise.all([
    fromAirflow(path, { state: AT_WORK, limit: LISTED, order_by: "map_index" }, signal),
    xcom([...path, pipeline.tasks.plan], PLAN, -1, signal),
  ]);
  const tasks = listed.task_instances.filter((task) => task.task_id.startsWith(`${pipeline.task_group}.`));
  const isBatch = (task) => task.task_id === pipeline.tasks.wait && task.state !== "scheduled";
  const batches = await Promise.all(
    tasks.filter(isBatch).map(async (task) => ({
      index: task.map_index,
      state: task.state,
      since: task.start_date,
      progress: await xcom([...path, task.task_id], PROGRESS, task.map_index, signal),
    })),
  );
  return {
    batches,
    plan,
    steps: counted(tasks.filter((task) => !isBatch(task))),
    more: Math.max(0, listed.total_entries - listed.task_instances.length),
  };
}

function counted(tasks) {
  const steps = new Map();
  for (const task of tasks) {
    const step = task.task_id.split(".").pop();
    const key = `${step} ${task.state}`;
    steps.set(key, { step, state: task.state, tasks: (steps.get(key)?.tasks ?? 0) + 1 });
  }
  return [...steps.values()];
}

async function xcom(task, key, mapIndex, signal) {
  try {
    return (await fromAirflow([...task, "xcomEntries", key], { map_index: mapIndex }, signal)).value;
  } catch (problem) {
    if (problem instanceof Problem && [403, 404].includes(problem.status)) return null; // none yet, or not for this user
    throw problem;
  }
}
