/** All pipelines that the user may read, with their latest runs. */

import { latestRuns } from "../airflow.js";
import { el, refreshed, row, table } from "../dom.js";
import { ago } from "../format.js";
import { runLink } from "../links.js";
import { banner, empty } from "../notices.js";
import { whileSeen } from "../refresh.js";
import { viewLink } from "../router.js";
import { runStyle } from "../states.js";

const RUNS = 12;
const SECONDS = 10;

/** Show the list; the runs follow, and are kept up to date. */
export function pipelinesView(place, { pipelines, signal, failed }) {
  if (!pipelines.length) {
    place.append(nothing());
    return;
  }
  const rows = new Map(pipelines.map((pipeline) => [pipeline, pipelineRow(pipeline)]));
  const columns = ["Pipeline", "Workflow", "Warehouse", "Latest runs", "Planned", "Data"];
  place.append(el("h2", {}, "Pipelines"), table("Pipelines", columns, [...rows.values()].map(({ line }) => line)));
  whileSeen(() => Promise.all([...rows].map(([pipeline, { runs }]) => showRuns(pipeline, runs, signal))), SECONDS, signal, failed);
}

function nothing() {
  return el(
    "section",
    { class: "blank" },
    el("h2", {}, "No pipeline yet"),
    el("p", {}, "This page shows DAGs that call ", el("code", {}, "documents_to_warehouse"), ", from their first run on."),
    el("p", {}, "Is there such a DAG? Then it has not planned a run since the page was installed, or you may not read it."),
  );
}

function pipelineRow(pipeline) {
  const runs = el("td", { class: "runs" }, empty("…"));
  const { conn_id: connection, dataset, kind } = pipeline.warehouse;
  const line = row(
    {},
    el("th", { scope: "row" }, viewLink(pipeline, [], pipeline.dag_id), el("div", { class: "quiet" }, pipeline.task_group)),
    [pipeline.workflow_id, el("div", { class: "quiet" }, pipeline.version ? `version ${pipeline.version}` : "latest version")],
    [`${connection}.${dataset}`, el("div", { class: "quiet" }, kind ?? "")],
    runs,
    ago(pipeline.last_planned_at),
    el("td", { class: "wide" }, pipeline.notice ? banner("notice", pipeline.notice) : ["as of ", ago(pipeline.as_of)]),
  );
  return { line, runs };
}

async function showRuns(pipeline, place, signal) {
  const found = await latestRuns(pipeline.dag_id, RUNS, signal);
  const shown = found.map(({ dag_run_id: id, state, run_after: at }) => ({ id, state, at }));
  refreshed(place, shown, (runs) => (runs.length ? squares(pipeline.dag_id, runs) : empty("none")));
}

/** The newest run is on the right, as in Airflow's grid. */
function squares(dagId, runs) {
  return el(
    "ol",
    { class: "squares" },
    runs.toReversed().map(({ id, state, at }) => {
      const label = `${id}, ${state}, ${new Date(at).toLocaleString("en-GB")}`;
      return el("li", {}, runLink(dagId, id, "", { class: runStyle(state), title: label, "aria-label": label, "data-key": id }));
    }),
  );
}
