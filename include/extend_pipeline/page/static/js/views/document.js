/** One document's story: its way, what it cost, its values with Extend's evidence, what a reviewer changed. */

import { el, number, row, table } from "../dom.js";
import { bytes, count, credits, percent, time } from "../format.js";
import { fromPage } from "../http.js";
import { airflowLink, webLink } from "../links.js";
import { banner, empty } from "../notices.js";
import { chip, statusChip, statusName, statusStyle } from "../states.js";

const MOMENTS = {
  found: "The file was changed last",
  sent: "Sent to Extend",
  attempt: "Extend ended a run",
  landed: "Landed in the warehouse",
  reviewed: "Reviewed at Extend",
  approval: "Approval in Airflow",
};

/** Show a document. */
export async function documentView(place, { pipeline, id, signal }) {
  const story = await fromPage([pipeline.dag_id, "documents", id], { group: pipeline.task_group }, signal);
  place.append(
    el("h2", { class: "document" }, story.name || story.address),
    el("p", { class: "address" }, story.address),
    facts([
      ["Document", el("code", {}, story.document_id)],
      ["Size", bytes(story.size_bytes)],
      ["Changed", time(story.last_modified)],
      ["ETag", story.etag ? el("code", {}, story.etag) : "–"],
    ]),
  );
  if (story.notice) place.append(banner("notice", story.notice));
  if (!story.landed.length) place.append(empty("It has no row in the warehouse yet."));
  place.append(...story.landed.map((landed) => section(landed)));
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function section(landed) {
  const version = landed.version_used ?? landed.version;
  const name = `${landed.workflow_name ?? landed.workflow_id}${version ? `, version ${version}` : ""}`;
  const links = [webLink(landed.dashboard_url, "Open in Extend", { class: "button" }), airflowLink(landed.run_path, "Run in Airflow", { class: "button" })];
  return el(
    "section",
    { class: "landed", "aria-label": name },
    el("header", {}, el("h3", {}, name), statusChip(landed.status), landed.approval ? chip(approval(landed.approval), "waits") : null, links),
    landed.reason ? el("p", { class: "why" }, el("strong", {}, landed.reason), landed.message ? `: ${landed.message}` : "") : null,
    facts([
      ["Credits", credits(landed.credits)],
      ["Attempts", count(landed.attempts)],
      ["Run at Extend", landed.run_id ? el("code", {}, landed.run_id) : "–"],
      ["Batch", landed.batch_id ? el("code", {}, landed.batch_id) : "–"],
      ["Workflow", el("code", {}, landed.workflow_id)],
    ]),
    el("div", { class: "story" }, el("div", {}, el("h4", {}, "Timeline"), timeline(landed.timeline)), el("div", {}, el("h4", {}, "Fields"), fields(landed))),
  );
}

const approval = (word) => ({ WAITING: "To be approved", APPROVED: "Approved", REJECTED: "Approval refused" })[word] ?? word;

function timeline(moments) {
  return el("ol", { class: "timeline" }, moments.map(moment));
}

function moment({ what, at, status, reason, message, by, credits: cost, run_id: run, dashboard_url: url }) {
  const details = [
    reason ? `${reason}${message ? `: ${message}` : ""}` : message,
    by ? `by ${by}` : null,
    cost === null ? null : `${credits(cost)} credits`,
  ].filter(Boolean);
  const shown = what === "approval" && status ? approval(status) : status ? statusName(status) : null;
  return el(
    "li",
    { class: status ? statusStyle(status) : null },
    el("div", {}, el("strong", {}, MOMENTS[what] ?? what), shown ? `: ${shown}` : ""),
    el("div", { class: "quiet" }, at ? time(at) : "time not known"),
    details.length ? el("div", {}, details.join(" · ")) : null,
    run ? el("div", { class: "quiet" }, webLink(url, run) ?? el("code", {}, run)) : null,
  );
}

function fields({ fields: found, fields_total: total }) {
  if (!found.length) return empty("No values were extracted.");
  const several = new Set(found.map((field) => field.extractor)).size > 1;
  const columns = [several ? "Extractor" : null, "Field", "Value", "Confidence", { name: "Page", number: true }, "Where it is read"];
  const rows = found.map((field) =>
    row(
      { class: field.edited ? "edited" : field.low ? "low" : null },
      ...(several ? [field.extractor] : []),
      el("th", { scope: "row" }, field.path),
      value(field),
      confidence(field),
      number(field.cell_range ?? field.page ?? "–"),
      el("td", { class: "quote" }, field.reference_text),
    ),
  );
  const rest = total - found.length;
  return [table("Fields", columns.filter(Boolean), rows), rest > 0 ? el("p", { class: "quiet" }, `${count(rest)} more are in the warehouse’s table “fields”.`) : null];
}

function value({ value: now, edited, machine_value: machine }) {
  const shown = now ?? el("span", { class: "quiet" }, "empty");
  if (!edited) return el("td", { class: "value" }, shown);
  const before = el("div", { class: "quiet" }, "A reviewer has changed it; Extend read ", machine === null ? "nothing" : el("del", {}, machine));
  return el("td", { class: "value" }, el("ins", {}, shown), before);
}

function confidence({ confidence: value, low, ocr_confidence: ocr, logprobs_confidence: model }) {
  if (value === null) return "–";
  const parts = [ocr === null ? null : `of the reading ${percent(ocr)}`, model === null ? null : `of the model ${percent(model)}`];
  const fillings = el("span", { class: low ? "review" : "good" });
  fillings.style.width = `${100 * value}%`;
  const meter = el("span", { class: "meter", "aria-hidden": "true" }, fillings);
  return el("td", { class: "confidence", title: parts.filter(Boolean).join(", ") }, meter, percent(value), low ? el("span", { class: "hidden-text" }, ", low") : null);
}
