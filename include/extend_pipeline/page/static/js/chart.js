/**
 * Bars by day, drawn as SVG: numbers on hover and by the arrow keys, and all of them as a table.
 *
 * What a bar is made of is told apart by its place and by the words beside the pointer, not by colour alone.
 */

import { el, fill, number, row, svg, table } from "./dom.js";
import { compact, day } from "./format.js";

const HEIGHT = 168;
const EDGE = { top: 10, right: 8, bottom: 22, left: 44 };
const LABELLED_DAYS = 6;

/**
 * Draw a chart.
 *
 * @param {object} chart
 * @param {string} chart.title
 * @param {string} chart.summary what it says, in a sentence for a screen reader.
 * @param {Array<string>} chart.days `YYYY-MM-DD`, oldest first.
 * @param {Array<{name: string, style: string, values: Array<number>}>} chart.series from the bottom up.
 * @param {function(number): string} chart.format
 * @param {?{name: string, value: number}} chart.line a bound, drawn across.
 */
export function barChart(chart) {
  const id = `chart-${chart.title.toLowerCase().replaceAll(/\W+/g, "-")}`;
  const totals = chart.days.map((_, index) => sum(chart.series.map((each) => each.values[index])));
  const tip = el("div", { class: "tip", role: "status", hidden: true });
  const plot = el("div", { class: "plot", tabindex: "0", role: "group", "aria-roledescription": "chart", "aria-label": `${chart.title}. ${chart.summary} Left and right arrow show a day.`, "data-key": id });
  const state = { chart, totals, tip, plot, shown: null, width: 0 };
  plot.addEventListener("pointermove", (event) => pick(state, dayAt(state, event)));
  plot.addEventListener("pointerleave", () => pick(state, null));
  plot.addEventListener("blur", () => pick(state, null));
  plot.addEventListener("keydown", (event) => walk(state, event));
  new ResizeObserver(([entry]) => draw(state, Math.floor(entry.contentRect.width))).observe(plot);
  return el(
    "figure",
    { class: "chart" },
    el("figcaption", {}, el("h3", {}, chart.title), legend(chart)),
    plot,
    el("details", { "data-key": `${id}-table` }, el("summary", { "data-key": `${id}-summary` }, "Show as a table"), numbers(chart, totals)),
  );
}

function legend(chart) {
  const items = chart.series.map((each) => el("li", {}, el("span", { class: `swatch ${each.style}` }), each.name));
  if (chart.line) items.push(el("li", {}, el("span", { class: "swatch bound" }), chart.line.name));
  return el("ul", { class: "legend" }, items);
}

function numbers(chart, totals) {
  const several = chart.series.length > 1;
  const columns = ["Day", ...chart.series.map(({ name }) => ({ name, number: true })), several && { name: "All", number: true }];
  const rows = chart.days.map((date, index) =>
    row({}, el("th", { scope: "row" }, day(date)), chart.series.map((each) => number(chart.format(each.values[index]))), several ? number(chart.format(totals[index])) : []),
  );
  return table(chart.title, columns.filter(Boolean), rows.reverse());
}

function draw(state, width) {
  if (width <= 0 || width === state.width) return;
  state.width = width;
  const { chart, totals, plot, tip } = state;
  const top = ceiling(Math.max(...totals, chart.line ? lineValue(chart, totals) : 0));
  const inner = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const y = (value) => EDGE.top + inner.height * (1 - value / top);
  const step = inner.width / Math.max(1, chart.days.length);
  state.x = (index) => EDGE.left + step * index;
  state.step = step;
  const drawing = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true", focusable: "false" });
  for (const value of [0, top / 2, top]) {
    drawing.append(
      svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
      svg("text", { class: "axis", x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, compact(value)),
    );
  }
  state.band = svg("rect", { class: "band", y: EDGE.top, width: step, height: inner.height, visibility: "hidden" });
  drawing.append(state.band, bars(state, y), days(state));
  if (chart.line && chart.line.value <= top) {
    drawing.append(svg("line", { class: "bound", x1: EDGE.left, x2: width - EDGE.right, y1: y(chart.line.value), y2: y(chart.line.value) }));
  }
  fill(plot, drawing, tip);
}

/** A bound far above all bars would flatten them: then the chart shows the bars, and the legend has the bound. */
function lineValue(chart, totals) {
  const highest = Math.max(...totals);
  return highest > 0 && chart.line.value > 4 * highest ? 0 : chart.line.value;
}

function bars({ chart, x, step }, y) {
  const gap = step > 6 ? 2 : 0.5;
  const group = svg("g");
  chart.days.forEach((_, index) => {
    let below = 0;
    for (const each of chart.series) {
      const value = each.values[index];
      if (!value) continue;
      const [bottom, upper] = [y(below), y(below + value)];
      const height = Math.max(1, bottom - upper);
      group.append(svg("rect", { class: each.style, x: x(index) + gap / 2, y: bottom - height, width: Math.max(1, step - gap), height }));
      below += value;
    }
  });
  return group;
}

function days({ chart, x, step }) {
  const every = Math.max(1, Math.ceil(chart.days.length / LABELLED_DAYS));
  const last = chart.days.length - 1;
  return chart.days.map((date, index) =>
    (last - index) % every === 0
      ? svg("text", { class: "axis", x: x(index) + step / 2, y: HEIGHT - 6, "text-anchor": index === last ? "end" : "middle" }, day(date))
      : null,
  );
}

function dayAt(state, event) {
  const across = event.clientX - state.plot.getBoundingClientRect().left;
  const index = Math.floor((across - EDGE.left) / state.step);
  return index >= 0 && index < state.chart.days.length ? index : null;
}

function walk(state, event) {
  const last = state.chart.days.length - 1;
  const from = state.shown ?? last + 1;
  const to = { ArrowLeft: Math.max(0, from - 1), ArrowRight: Math.min(last, from + 1), Home: 0, End: last }[event.key];
  if (event.key === "Escape") pick(state, null);
  if (to === undefined || last < 0) return;
  event.preventDefault();
  pick(state, to);
}

function pick(state, index) {
  if (index === state.shown) return;
  state.shown = index;
  state.tip.hidden = index === null;
  state.band?.setAttribute("visibility", index === null ? "hidden" : "visible");
  if (index === null) return;
  const { chart, totals, tip } = state;
  const parts = chart.series.filter((each) => each.values[index] || chart.series.length === 1);
  const lines = parts.map((each) => el("div", {}, el("span", { class: `swatch ${each.style}` }), `${each.name}: ${chart.format(each.values[index])}`));
  fill(tip, el("strong", {}, day(chart.days[index])), lines.length ? lines : el("div", {}, "nothing"), lines.length > 1 ? el("div", {}, `All: ${chart.format(totals[index])}`) : null);
  state.band.setAttribute("x", state.x(index));
  const middle = state.x(index) + state.step / 2;
  const left = middle > state.width / 2 ? middle - tip.offsetWidth - state.step : middle + state.step;
  tip.style.transform = `translate(${Math.round(left)}px, ${EDGE.top}px)`;
}

const sum = (values) => values.reduce((all, value) => all + value, 0);

/** The next round number: 1, 2, 4, 6, 8 or 10 times a power of ten, so that its half is round too. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const found = [1, 2, 4, 6, 8, 10].find((factor) => factor * power >= value) * power;
  return value > 1 && found < 2 ? 2 : found;
}
