/**
 * Send again: asks, then starts a run of the on-demand DAG by Airflow's own REST API, with the user's cookie. So
 * Airflow decides whether the user may, and records who did. The page itself has no route that writes.
 */

import { dagOrNull, dagRun, startRun } from "./airflow.js";
import { confirmed } from "./dialog.js";
import { el } from "./dom.js";
import { count, credits, documents } from "./format.js";
import { runLink } from "./links.js";
import { tell } from "./notices.js";
import { whileSeen } from "./refresh.js";
import { runChip } from "./states.js";

const SECONDS = 3;
const NOTE = "Send again, from the page of documents";

/**
 * Ask, and start the runs.
 *
 * @param {Array<{dag_id: string, documents: number, conf: object, credits: ?number}>} runs one for each workflow and
 *   version of the documents.
 * @param {string} which says which documents these are.
 * @param {{failed: function(Error): void, runEnded: function(): void}} context
 * @returns {Promise<boolean>} whether a run was started.
 */
export async function sendAgain(runs, which, context) {
  const total = runs.reduce((all, run) => all + run.documents, 0);
  if (!total) {
    tell("notice", "There is nothing to send: the documents are on their way already, or no longer among the dead letters.");
    return false;
  }
  const dags = [...new Set(runs.map((run) => run.dag_id))];
  const found = await Promise.all(dags.map((dagId) => dagOrNull(dagId)));
  const content = question(runs, which, dags.filter((_, index) => found[index]?.is_paused));
  if (!(await confirmed(`Send ${documents(total)} again?`, content, `Send ${documents(total)} again`))) return false;
  let started = 0;
  for (const run of runs) {
    try {
      follow(await startRun(run.dag_id, run.conf, NOTE), run.documents, context);
      started += 1;
    } catch (problem) {
      tell("bad", refusal(run, problem));
    }
  }
  return started > 0;
}

function question(runs, which, paused) {
  const before = runs.map((run) => run.credits).filter((value) => value !== null && value !== undefined);
  const cost = before.reduce((all, value) => all + value, 0);
  return [
    el("p", { class: "which" }, which),
    el("p", {}, el("strong", {}, "Extend charges credits for each of them again."), before.length ? ` The last attempts cost ${credits(cost)}.` : ""),
    el("p", {}, `This starts ${runs.length === 1 ? "a run" : `${count(runs.length)} runs`} of `, el("code", {}, runs[0].dag_id), ". What has landed meanwhile is left out."),
    paused.length ? el("p", { class: "notice bad" }, `${paused.join(", ")} is paused: nothing is sent until somebody unpauses it.`) : null,
  ].filter(Boolean);
}

function refusal(run, problem) {
  const nothing = `Nothing was sent: no run of ${run.dag_id} was started. `;
  if (problem.status === 403) return `${nothing}You may not start runs of this DAG. Ask somebody who may, or ask for the right to create its runs.`;
  if (problem.status === 404) return `${nothing}Airflow has no such DAG. It is dags/extend_on_demand.py of the project.`;
  if (problem.status === 0) return `Airflow has not said whether a run of ${run.dag_id} was started: ${problem.message} Look at its runs before you send again.`;
  return nothing + problem.message;
}

/** Show the run that was started, and what becomes of it. */
function follow({ dag_id: dagId, dag_run_id: runId, state }, sent, { failed, runEnded }) {
  const key = `sent-${runId}`;
  const show = (now) => {
    const kind = now === "success" ? "good" : now === "failed" ? "bad" : "notice";
    tell(kind, [runChip(now), " ", words(now, sent), " ", runLink(dagId, runId)], key);
  };
  const over = new AbortController();
  let shown = state;
  show(state);
  const look = async () => {
    const run = await dagRun(dagId, runId, over.signal);
    if (!document.querySelector(`[data-key="${CSS.escape(key)}"]`)) over.abort(); // dismissed
    else if (run.state !== shown) show((shown = run.state));
    if (!["success", "failed"].includes(run.state)) return;
    over.abort();
    runEnded();
  };
  whileSeen(look, SECONDS, over.signal, failed);
}

function words(state, sent) {
  if (state === "success") return `${documents(sent)} sent again, and landed:`;
  if (state === "failed") return "The run that sends them again has failed; its tasks say why:";
  return `${documents(sent)} to be sent again by`;
}
