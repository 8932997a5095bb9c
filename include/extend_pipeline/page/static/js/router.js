/**
 * Which view is shown: `#/`, `#/<dag>`, `#/<dag>/dead_letters`, `#/<dag>/reviews`, `#/<dag>/search?q=…`,
 * `#/<dag>/documents/<id>`, with `?group=` where a DAG has several pipelines. It is in the fragment, so "back" works
 * and nothing of it reaches a server's log.
 */

import { el } from "./dom.js";

/** The view that the address asks for. On a DAG's own page Airflow passes the DAG as `?dag_id=`. */
export function route() {
  const [path, query = ""] = window.location.hash.replace(/^#\/?/, "").split("?");
  const [dagId, view = "overview", id] = path.split("/").filter(Boolean).map(decoded);
  return { dagId: dagId ?? ownDag(), view, id, query: new URLSearchParams(query) };
}

/** The DAG on whose page in Airflow this is; null in the navigation. */
export function ownDag() {
  return new URLSearchParams(window.location.search).get("dag_id");
}

/**
 * The address of a view of a pipeline.
 *
 * @param {{dag_id: string, task_group: string}} pipeline
 * @param {Array<string>} view
 * @param {Object<string, ?string>} query
 */
export function viewAddress(pipeline, view = [], query = {}) {
  const given = Object.entries({ group: pipeline.task_group, ...query }).filter(([, value]) => value);
  return `#/${[pipeline.dag_id, ...view].map(encodeURIComponent).join("/")}?${new URLSearchParams(given)}`;
}

/** A link to a view of a pipeline. */
export function viewLink(pipeline, view, text, attributes = {}, query = {}) {
  return el("a", { href: viewAddress(pipeline, view, query), ...attributes }, text);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
