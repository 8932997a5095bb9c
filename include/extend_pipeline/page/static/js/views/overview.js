/** A pipeline at a glance: figures, what is at work, thirty days, the latest runs. */

import { barChart } from "../chart.js";
import { el, refreshed } from "../dom.js";
import { ago, count, credits, documents } from "../format.js";
import { banner } from "../notices.js";
import { viewLink } from "../router.js";
import { orderedStatuses, statusName, statusStyle } from "../states.js";
import { runsAtWork } from "./work.js";

/** Show the overview. `onOverview` calls back with each answer of `api/…/overview`. */
export function overviewView(place, context) {
  const [figures, days] = [el("div"), el("div")];
  const work = el("section", { "aria-label": "Runs" });
  place.append(figures, work, days);
  const known = { runs: [] };
  const redraw = runsAtWork(work, context, known);
  context.onOverview((overview) => {
    known.runs = overview.runs;
    refreshed(figures, withoutDays(overview), (data) => drawFigures(data, context.pipeline));
    refreshed(days, [overview.state, overview.days, overview.budget], () => drawDays(overview));
    redraw();
  });
}

function withoutDays({ days, ...rest }) {
  return { ...rest, sums: sums(days) };
}

function sums(days) {
  const sent = days.reduce((all, one) => all + total(one.documents), 0);
  return { days: days.length, documents: sent, credits: days.reduce((all, one) => all + one.credits, 0) };
}

const total = (byStatus) => Object.values(byStatus).reduce((all, value) => all + value, 0);

function drawFigures(data, pipeline) {
  if (data.state === "unreadable") return null; // the notice says why; zeros would be wrong
  const dead = total(data.dead_letters);
  const waiting = data.in_review + data.waiting_for_approval;
  const { reservations, sums: last } = data;
  return el(
    "dl",
    { class: "figures" },
    figure("Documents", count(total(data.total)), `${count(last.documents)} in ${last.days} days`),
    figure("Credits", credits(data.credits), `${credits(last.credits)} in ${last.days} days`),
    figure("Dead letters", link(pipeline, "dead_letters", dead), dead ? "failed, not sent by itself" : "nothing has failed", dead ? "bad" : null),
    figure("In review at Extend", link(pipeline, "reviews", data.in_review), waiting ? "wait for a person" : "nobody is waited for"),
    figure("To be approved here", link(pipeline, "reviews", data.waiting_for_approval), "in Airflow"),
    figure(
      "On their way",
      count(reservations.documents),
      reservations.chunks ? ["reserved, the oldest ", ago(reservations.oldest)] : "nothing is reserved",
    ),
  );
}

function link(pipeline, view, value) {
  return value ? viewLink(pipeline, [view], count(value), { "data-key": `figure-${view}-${value}` }) : count(value);
}

function figure(name, value, note, style = null) {
  return el("div", { class: style }, el("dt", {}, name), el("dd", {}, el("strong", {}, value), el("span", {}, note)));
}

function drawDays({ state, days, budget }) {
  if (state === "unreadable") return null;
  const statuses = orderedStatuses([...new Set(days.flatMap((one) => Object.keys(one.documents)))]);
  const dates = days.map((one) => one.day);
  const last = sums(days);
  const failed = days.reduce((all, one) => all + (one.documents.FAILED ?? 0), 0);
  if (!last.documents) return banner("notice", `No documents were sent in the last ${days.length} days.`);
  const bound = budget.max_credits;
  return el(
    "section",
    { class: "charts", "aria-label": `The last ${days.length} days` },
    barChart({
      title: "Documents per day",
      summary: `${documents(last.documents)} in ${last.days} days, ${count(failed)} failed.`,
      days: dates,
      series: statuses.map((status) => ({
        name: statusName(status),
        style: statusStyle(status),
        values: days.map((one) => one.documents[status] ?? 0),
      })),
      format: count,
    }),
    barChart({
      title: "Credits per day",
      summary: `${credits(last.credits)} credits in ${last.days} days.${bound ? ` A run may cost ${credits(bound)}.` : ""}`,
      days: dates,
      series: [{ name: "Credits", style: "credits", values: days.map((one) => one.credits) }],
      line: bound ? { name: `Budget of a run: ${credits(bound)}`, value: bound } : null,
      format: credits,
    }),
  );
}
