/** Requests for JSON, to the page's own routes and to Airflow's REST API; what goes wrong, in words. */

/** The page's own address, e.g. https://airflow.example.com/prefix/extend/page/. */
export const PAGE = new URL(".", document.baseURI);

/** Airflow's address, below which its pages and its REST API are; the page is mounted two folders below it. */
export const AIRFLOW = new URL("../../", PAGE);

const WAIT_SECONDS = 30;

/** A request that failed: what happened, as a sentence for a person. */
export class Problem extends Error {
  /**
   * @param {string} message
   * @param {number} status of HTTP; 0 if there was no answer.
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Ask the page's own routes.
 *
 * @param {Array<string>} path parts, which are escaped here.
 * @param {Object<string, string|number|null|undefined>} query
 */
export function fromPage(path, query = {}, signal = undefined) {
  return json(address(new URL("api/", PAGE), path, query), { signal });
}

/** Ask Airflow's REST API. */
export function fromAirflow(path, query = {}, signal = undefined) {
  return json(address(new URL("api/v2/", AIRFLOW), path, query), { signal });
}

/** Post to Airflow's REST API, with the user's own cookie: Airflow decides whether the user may, and records it. */
export function postToAirflow(path, body) {
  return json(address(new URL("api/v2/", AIRFLOW), path, {}), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

function address(base, path, query) {
  const url = new URL(path.map(encodeURIComponent).join("/"), base);
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") url.searchParams.append(name, one);
    }
  }
  return url;
}

async function json(url, { signal, ...options }) {
  const patience = AbortSignal.timeout(WAIT_SECONDS * 1000);
  const either = signal ? AbortSignal.any([signal, patience]) : patience;
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", signal: either, ...options });
  } catch (error) {
    if (signal?.aborted) throw error;
    if (patience.aborted) throw new Problem(`Airflow has not answered in ${WAIT_SECONDS} seconds.`, 0);
    throw new Problem("Airflow does not answer. Is the network up, and the API server running?", 0);
  }
  if (!response.ok) throw new Problem(await reason(response), response.status);
  try {
    return await response.json();
  } catch {
    if (signal?.aborted) throw new DOMException("over", "AbortError");
    throw new Problem("The answer is not what this page expects. Your session may have ended: load the page again.", 0);
  }
}

async function reason(response) {
  if (response.status === 401) return "Your session has ended. Load the page again to log in.";
  let detail;
  try {
    ({ detail } = await response.json());
  } catch {
    // no JSON: a proxy's page, for example
  }
  if (Array.isArray(detail)) detail = detail.map((one) => one.msg).filter(Boolean).join("; ");
  if (detail && typeof detail === "object") detail = detail.message ?? detail.reason ?? detail.detail;
  const said = typeof detail === "string" && detail ? detail : response.statusText;
  if (response.status === 403) return `You do not have the right for this (${said || "Forbidden"}).`;
  if (response.status >= 500) return `Airflow's API server has failed (${response.status} ${said}). Its log says why.`;
  return `${said || "The request was refused"} (${response.status})`;
}
