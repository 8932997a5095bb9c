/** Documents that wait for a person: a review at Extend, or an approval in Airflow. */

import { el, fill, number, row, table } from "../dom.js";
import { ago, count, percent } from "../format.js";
import { fromPage } from "../http.js";
import { airflowLink, webLink } from "../links.js";
import { banner, empty } from "../notices.js";
import { viewLink } from "../router.js";
import { chip } from "../states.js";

const PAGE_SIZE = 50;
const COLUMNS = ["Document", "Waits for", "Since", { name: "Doubtful fields", number: true }, { name: "Lowest confidence", number: true }, "What to do"];

/** Show who is waited for, those who have waited longest first. */
export async function reviewsView(place, { pipeline, signal }) {
  const ask = (after = null) => fromPage([pipeline.dag_id, "reviews"], { group: pipeline.task_group, limit: PAGE_SIZE, after }, signal);
  const answer = await ask();
  const rows = answer.rows.map((one) => reviewRow(pipeline, one));
  place.append(
    ...[
      answer.notice ? banner("notice", answer.notice) : null,
      el("h2", {}, "Waiting for a person"),
      rows.length ? summary(answer) : empty("Nothing waits for a person."),
    ].filter(Boolean),
  );
  if (!rows.length) return;
  const shown = table("Documents that wait for a person", COLUMNS, rows);
  const more = el("p");
  place.append(shown, more);
  offerMore(more, answer.next, async (next) => {
    const page = await ask(next);
    shown.querySelector("tbody").append(...page.rows.map((one) => reviewRow(pipeline, one)));
    return page.next;
  });
}

function summary({ in_review: inReview, waiting_for_approval: held }) {
  const parts = [];
  if (inReview) parts.push(`${count(inReview)} in review at Extend: their values are those of the machine, until a reviewer has decided.`);
  if (held) parts.push(`${count(held)} to be approved in Airflow: they have no rows in the typed tables yet.`);
  return el("p", { class: "lead" }, parts.join(" "));
}

function reviewRow(pipeline, one) {
  const extend = webLink(one.dashboard_url, "Review at Extend");
  const airflow = airflowLink(one.actions_path, "Decide in Airflow");
  const todo = one.waits_for === "approval" ? airflow ?? "Its run in Airflow asks" : extend ?? "Open it in Extend’s dashboard";
  return row(
    {},
    el("td", { class: "address" }, viewLink(pipeline, ["documents", one.document_id], one.name, { title: one.address }), el("div", { class: "quiet" }, one.address)),
    one.waits_for === "approval" ? chip("Approval", "waits") : chip("Review", "review"),
    ago(one.since),
    number(one.low_confidence === null ? "–" : count(one.low_confidence)),
    number(one.lowest_confidence === null ? "–" : percent(one.lowest_confidence)),
    todo,
  );
}

/** Offer the next page of a list, until there is none. */
export function offerMore(place, next, load) {
  const button = el("button", { type: "button", on: { click: async () => offerMore(place, await load(next), load) } }, "Show more");
  fill(place, next ? button : null);
}
