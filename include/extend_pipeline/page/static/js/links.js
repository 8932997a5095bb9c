/**
 * Links out of the frame.
 *
 * Airflow shows the page in a frame that may open no window and may not leave for another page. Clicks on its links
 * would do nothing. The frame is of Airflow's own origin, so such a link is followed by an anchor in Airflow's own
 * document, to which the sandbox does not apply. Where that fails, the address is copied, or shown for copying.
 */

import { el } from "./dom.js";
import { AIRFLOW } from "./http.js";
import { tell } from "./notices.js";

/**
 * A link to a page of Airflow, in Airflow's own tab.
 *
 * @param {?string} path below Airflow's address, escaped; what leads elsewhere is shown as text.
 */
export function airflowLink(path, text, attributes = {}) {
  const url = path ? new URL(path.replace(/^\/+/, ""), AIRFLOW) : null;
  if (!url?.href.startsWith(AIRFLOW.href)) return path ? el("span", {}, text) : null;
  return outward(url.href, text, { ...attributes, "data-opens": "airflow" });
}

/** A link to a run of a DAG in Airflow. */
export function runLink(dagId, runId, text = runId, attributes = {}) {
  return airflowLink(`dags/${encodeURIComponent(dagId)}/runs/${encodeURIComponent(runId)}`, text, attributes);
}

/**
 * A link to another site, in a new tab. None for what is no address of the web.
 *
 * @param {?string} address from the API: it is data, and may be anything.
 */
export function webLink(address, text, attributes = {}) {
  const url = webAddress(address);
  if (!url) return null;
  return outward(url.href, [text, el("span", { class: "hidden-text" }, " (new tab)")], {
    ...attributes,
    class: `out ${attributes.class ?? ""}`.trim(),
    rel: "noopener noreferrer",
    target: "_blank",
    "data-opens": "web",
  });
}

function webAddress(address) {
  try {
    const url = new URL(address);
    return ["https:", "http:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

function outward(address, text, attributes) {
  return el("a", { href: address, ...attributes }, text);
}

/** Have clicks on links out of the frame followed; once, when the page starts. */
export function followLinks() {
  for (const event of ["click", "auxclick"]) document.addEventListener(event, follow);
}

function follow(event) {
  const link = event.target.closest?.("a[data-opens]");
  if (!link || event.defaultPrevented || event.button > 1 || window.parent === window) return;
  event.preventDefault();
  const newTab = link.dataset.opens === "web" || event.ctrlKey || event.metaKey || event.shiftKey || event.button === 1;
  try {
    const anchor = window.parent.document.createElement("a");
    anchor.href = link.href;
    anchor.rel = "noopener noreferrer";
    if (newTab) anchor.target = "_blank";
    window.parent.document.body.append(anchor);
    anchor.click();
    anchor.remove();
  } catch {
    copy(link.href);
  }
}

async function copy(address) {
  try {
    await navigator.clipboard.writeText(address);
    tell("notice", "This browser does not let the page open the link. Its address is on the clipboard.");
  } catch {
    tell("notice", ["This browser does not let the page open the link. Copy it: ", el("code", {}, address)]);
  }
}
