/** Documents that were searched for, by address, document id or run id. */

import { el, row, table } from "../dom.js";
import { ago, count } from "../format.js";
import { fromPage } from "../http.js";
import { banner, empty } from "../notices.js";
import { viewLink } from "../router.js";
import { statusChip } from "../states.js";

const LIMIT = 50;

/** Show what was found. */
export async function searchView(place, { pipeline, query, signal }) {
  const wanted = query.get("q") ?? "";
  place.append(el("h2", {}, "Search"));
  if (!wanted.trim()) {
    place.append(empty("Type a part of an address, or the id of a document or of a run at Extend."));
    return;
  }
  const answer = await fromPage([pipeline.dag_id, "search"], { group: pipeline.task_group, q: wanted, limit: LIMIT }, signal);
  if (answer.notice) place.append(banner("notice", answer.notice));
  if (!answer.rows.length) {
    place.append(empty("Nothing is found for “", el("span", { class: "wanted" }, wanted), "”. An address is found by a part of it, an id only as a whole."));
    return;
  }
  const rows = answer.rows.map((found) =>
    row(
      {},
      el("td", { class: "address" }, viewLink(pipeline, ["documents", found.document_id], found.name), el("div", { class: "quiet" }, found.address)),
      [statusChip(found.status), found.reason ? el("div", { class: "quiet" }, found.reason) : null],
      [found.workflow_id, el("div", { class: "quiet" }, found.version ? `version ${found.version}` : "latest version")],
      ago(found.landed_at),
    ),
  );
  const said = answer.complete ? `${count(rows.length)} found for ` : `The first ${count(rows.length)} found for `;
  place.append(
    el("p", { class: "lead" }, said, "“", el("span", { class: "wanted" }, wanted), "”", answer.complete ? "" : ". A longer part of the address finds fewer."),
    table("Documents found", ["Document", "Status", "Workflow", "Landed"], rows),
  );
}
