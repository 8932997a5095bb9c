/** A question that must be answered; the browser's own confirm() does nothing in Airflow's frame. */

import { el } from "./dom.js";

/**
 * Ask, and wait for the answer. The focus begins on "Cancel", stays inside, and goes back to where it was.
 *
 * @param {string} title
 * @param {Array<Node|string>} content
 * @param {string} action the button's words: they say what it does.
 * @returns {Promise<boolean>}
 */
export function confirmed(title, content, action) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const cancel = el("button", { type: "button", on: { click: () => dialog.close("") } }, "Cancel");
    const go = el("button", { type: "button", class: "primary", on: { click: () => dialog.close("yes") } }, action);
    const dialog = el(
      "dialog",
      { "aria-labelledby": "dialog-title" },
      el("h2", { id: "dialog-title" }, title),
      content,
      el("div", { class: "buttons" }, cancel, go),
    );
    dialog.addEventListener("keydown", (event) => keepInside(event, dialog));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  });
}

/** A modal dialog makes the rest of the frame inert, but Tab would go on in Airflow's page around it. */
function keepInside(event, dialog) {
  if (event.key !== "Tab") return;
  const stops = [...dialog.querySelectorAll("button, a[href], input, summary")];
  const [first, last] = [stops[0], stops.at(-1)];
  if (event.shiftKey ? document.activeElement === first : document.activeElement === last) {
    event.preventDefault();
    (event.shiftKey ? last : first).focus();
  }
}
