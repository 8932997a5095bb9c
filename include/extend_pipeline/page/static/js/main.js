/** The page: which pipeline, which view; starts and ends what a view does. */

import { el, fill, refreshed } from "./dom.js";
import { count, keepAgo } from "./format.js";
import { fromPage } from "./http.js";
import { followLinks } from "./links.js";
import { banner, tell, untell } from "./notices.js";
import { whileSeen } from "./refresh.js";
import { ownDag, route, viewAddress, viewLink } from "./router.js";
import { followAirflow } from "./theme.js";
import { deadLettersView } from "./views/dead_letters.js";
import { documentView } from "./views/document.js";
import { overviewView } from "./views/overview.js";
import { pipelinesView } from "./views/pipelines.js";
import { reviewsView } from "./views/reviews.js";
import { searchView } from "./views/search.js";

const OVERVIEW_SECONDS = 30;
const PIPELINES_SECONDS = 5;
const DAYS = 30;
const VIEWS = {
  overview: overviewView,
  dead_letters: deadLettersView,
  reviews: reviewsView,
  search: searchView,
  documents: documentView,
};
const TABS = [
  ["Overview", "overview", () => null],
  ["Dead letters", "dead_letters", ({ dead_letters: byReason }) => Object.values(byReason).reduce((all, value) => all + value, 0)],
  ["Reviews", "reviews", (overview) => overview.in_review + overview.waiting_for_approval],
];
const FAILED = "failed";

let pipelines = null;
let current = new AbortController();

followAirflow();
followLinks();
keepAgo();
document.getElementById("search").addEventListener("submit", search);
window.addEventListener("hashchange", show);
show();

/** Show what the address asks for; what the view before was doing ends. */
async function show() {
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const place = el("div", { class: "view" });
  try {
    pipelines ??= await fromPage(["pipelines"], {}, signal);
    if (signal.aborted) return;
    await open(place, route(), signal);
    untell(FAILED);
  } catch (error) {
    if (signal.aborted) return;
    fill(place, failure(error));
    fill(document.getElementById("view"), place);
  }
}

async function open(place, { dagId, view, id, query }, signal) {
  const chosen = dagId ?? (pipelines.length === 1 ? pipelines[0].dag_id : null);
  const ofDag = pipelines.filter((one) => one.dag_id === chosen);
  const pipeline = ofDag.find((one) => one.task_group === query.get("group")) ?? ofDag[0];
  const context = { pipelines, pipeline, id, query, signal, failed };
  document.getElementById("search").hidden = !pipeline;
  document.getElementById("query").value = view === "search" ? query.get("q") ?? "" : "";
  where(pipeline, view);
  const main = document.getElementById("view");
  if (!pipeline) {
    fill(main, chosen ? unknown(chosen) : place);
    if (!chosen) pipelinesView(place, context);
    return lookForPipelines(signal);
  }
  fill(main, banner("quiet", "Loading…"));
  followOverview(context, view);
  await (VIEWS[view] ?? overviewView)(place, context);
  if (!signal.aborted) fill(main, place);
}

/** A pipeline is known once its first run is planned: show it then, without being asked. */
function lookForPipelines(signal) {
  const known = JSON.stringify(pipelines.map(({ dag_id: dag, task_group: group }) => [dag, group]));
  const look = async () => {
    const found = await fromPage(["pipelines"], {}, signal);
    if (JSON.stringify(found.map(({ dag_id: dag, task_group: group }) => [dag, group])) === known) return;
    pipelines = found;
    show();
  };
  whileSeen(look, PIPELINES_SECONDS, signal, failed);
}

/** Ask for the overview now and then: the tabs and the first view show it. */
function followOverview(context, view) {
  const { pipeline, signal } = context;
  let listener = () => {};
  const look = async () => {
    const overview = await fromPage([pipeline.dag_id, "overview"], { group: pipeline.task_group, days: DAYS }, signal);
    untell(FAILED);
    tabs(pipeline, view, overview);
    condition(overview);
    listener(overview);
  };
  context.onOverview = (given) => (listener = given);
  context.runEnded = () => look().catch(failed);
  whileSeen(look, OVERVIEW_SECONDS, signal, failed);
}

/** Say how old the data are, and what is the matter with them. */
function condition({ state, notice }) {
  if (notice) tell(state === "unreadable" ? "bad" : "notice", notice, "condition");
  else untell("condition");
}

function where(pipeline, view) {
  const place = document.getElementById("where");
  place.drawn = undefined;
  untell("condition");
  if (!pipeline) return fill(place);
  fill(place, ownDag() ? null : chooser(pipeline), el("ul", { class: "tabs" }));
  tabs(pipeline, view, null);
}

/** Choose another pipeline. */
function chooser(pipeline) {
  const name = (one) => (pipelines.filter(({ dag_id }) => dag_id === one.dag_id).length > 1 ? `${one.dag_id} / ${one.task_group}` : one.dag_id);
  const options = pipelines.map((one) => el("option", { value: viewAddress(one), selected: one === pipeline }, name(one)));
  const go = (event) => (window.location.hash = event.target.value);
  return el("select", { "aria-label": "Pipeline", on: { change: go } }, el("option", { value: "#/" }, "All pipelines"), options);
}

function tabs(pipeline, view, overview) {
  const place = document.querySelector("#where .tabs");
  const shown = TABS.map(([name, target, counted]) => ({ name, target, count: overview ? counted(overview) : null }));
  refreshed(place, shown, () =>
    shown.map(({ name, target, count: value }) =>
      el("li", {}, viewLink(pipeline, target === "overview" ? [] : [target], [name, value ? el("span", { class: "badge" }, count(value)) : null], { "aria-current": target === view ? "page" : null, "data-key": `tab-${target}` })),
    ),
  );
}

function search(event) {
  event.preventDefault();
  const { dagId, query } = route();
  const ofDag = pipelines.filter((one) => one.dag_id === (dagId ?? pipelines[0].dag_id));
  const pipeline = ofDag.find((one) => one.task_group === query.get("group")) ?? ofDag[0];
  const address = viewAddress(pipeline, ["search"], { q: document.getElementById("query").value.trim() });
  if (window.location.hash === address) show();
  else window.location.hash = address;
}

function unknown(dagId) {
  const others = pipelines.length ? [" ", el("a", { href: "?#/" }, "Show all pipelines.")] : [];
  return el(
    "section",
    { class: "blank" },
    el("h2", {}, "No documents here"),
    el("p", {}, el("code", {}, dagId), " has no pipeline of documents, or has not planned a run yet.", others),
  );
}

function failed(error) {
  if (error.name === "AbortError") return;
  if (error.status === undefined) console.error(error);
  tell("bad", [error.message, " The page asks again by itself."], FAILED);
}

function failure(error) {
  if (error.status === undefined) console.error(error);
  const again = el("button", { type: "button", on: { click: show } }, "Try again");
  return el("section", { class: "blank" }, el("h2", {}, error.status === 404 ? "Not found" : "This could not be shown"), el("p", {}, error.message), again);
}
