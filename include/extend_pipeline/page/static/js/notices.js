/** Short messages above the view: what has happened, what went wrong. Screen readers say them. */

import { el } from "./dom.js";

/**
 * Show a message.
 *
 * @param {"notice"|"good"|"bad"} kind
 * @param {string|Node|Array} content
 * @param {?string} key a message with the same key is replaced.
 * @returns {function(): void} removes it.
 */
export function tell(kind, content, key = null) {
  const place = document.getElementById("notices");
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.remove();
  const close = el("button", { type: "button", class: "close", "aria-label": "Dismiss", on: { click: () => box.remove() } }, "×");
  const box = el("div", { class: `notice ${kind}`, "data-key": key }, el("div", {}, content), close);
  place.append(box);
  return () => box.remove();
}

/** Remove the message with a key. */
export function untell(key) {
  document.querySelector(`#notices [data-key="${CSS.escape(key)}"]`)?.remove();
}

/** A message in its place in the view. */
export function banner(kind, ...content) {
  return el("p", { class: `notice ${kind}` }, content);
}

/** What a place shows that has nothing to show. */
export function empty(...content) {
  return el("p", { class: "quiet" }, content);
}
