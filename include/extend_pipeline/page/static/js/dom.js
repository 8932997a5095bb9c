/**
 * Elements, made without markup: what comes from the API becomes text or an attribute, never HTML.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {object} attributes `on` has listeners by event; true is an attribute without a value; null, undefined
 *   and false leave the attribute out.
 * @param {...(Node|string|number|null|undefined|false|Array)} children lists are flattened, nothing is left out
 *   but null, undefined and false.
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an element of a drawing. The same arguments. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...shown(children));
  return element;
}

/** Replace what an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...shown(children));
}

function shown(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/**
 * Show data in a part of the page that is refreshed: draws only what has changed, and keeps the focus.
 *
 * @param {HTMLElement} place
 * @param {*} data JSON; the same data is not drawn twice.
 * @param {function(*): Node|Array|null} draw null leaves the place empty.
 */
export function refreshed(place, data, draw) {
  const state = JSON.stringify(data);
  if (place.drawn === state) return;
  place.drawn = state;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const open = new Set([...place.querySelectorAll("details[open]")].map((details) => details.dataset.key));
  fill(place, draw(data));
  for (const details of place.querySelectorAll("details")) details.open ||= open.has(details.dataset.key);
  if (focused !== undefined) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

/**
 * Make a table that scrolls by itself where it is too wide.
 *
 * @param {string} label what a screen reader calls it.
 * @param {Array<string|{name: string, number?: boolean, hidden?: boolean}>} columns
 * @param {Array<HTMLElement>} rows
 */
export function table(label, columns, rows) {
  const heads = columns.map((column) => {
    const { name, number, hidden } = typeof column === "string" ? { name: column } : column;
    const text = hidden ? el("span", { class: "hidden-text" }, name) : name;
    return el("th", { scope: "col", class: number ? "number" : null }, text);
  });
  const body = el("table", { "aria-label": label }, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows));
  return el("div", { class: "table" }, body);
}

/** Make a row: a cell for each value; what is an element `td` or `th` already is taken as it is. */
export function row(attributes, ...cells) {
  const isCell = (cell) => cell instanceof HTMLTableCellElement;
  return el("tr", attributes, cells.map((cell) => (isCell(cell) ? cell : el("td", {}, cell))));
}

/** Make a cell with a number. */
export function number(...children) {
  return el("td", { class: "number" }, children);
}
