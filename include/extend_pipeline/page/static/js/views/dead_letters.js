/** Documents that failed and are not sent by themselves, by reason; "Send again" for one, some, or a reason. */

import { el, fill, number, row, table } from "../dom.js";
import { ago, count, credits, documents } from "../format.js";
import { fromPage } from "../http.js";
import { airflowLink, webLink } from "../links.js";
import { banner, empty, tell } from "../notices.js";
import { viewLink } from "../router.js";
import { sendAgain } from "../send_again.js";
import { statusName } from "../states.js";

const PAGE_SIZE = 50;

/** Show the dead letters of a pipeline, of one reason or all. */
export async function deadLettersView(place, context) {
  const reason = context.query.get("reason");
  const list = new DeadLetters(place, context, reason);
  await list.load();
}

class DeadLetters {
  constructor(place, context, reason) {
    this.place = place;
    this.context = context;
    this.reason = reason;
    this.rows = [];
    this.chosen = new Map();
    this.busy = false;
    this.bar = el("div", { class: "actions" });
    this.body = el("tbody");
    this.more = el("p");
  }

  ask(after = null) {
    const { pipeline, signal } = this.context;
    const query = { group: pipeline.task_group, reason: this.reason, limit: PAGE_SIZE, after };
    return fromPage([pipeline.dag_id, "dead_letters"], query, signal);
  }

  /** Do what a button is for, one at a time; say so if it cannot be done. */
  clicked(work) {
    const click = async () => {
      if (this.busy) return;
      this.busy = true;
      try {
        await work();
      } catch (error) {
        if (!this.context.signal.aborted) tell("bad", error.message);
      } finally {
        this.busy = false;
      }
    };
    return { click };
  }

  async load() {
    this.answer = await this.ask();
    this.rows = this.answer.rows;
    this.chosen.clear();
    const { notice, by_reason: byReason, total } = this.answer;
    const failed = Object.keys(byReason).length > 0;
    fill(
      this.place,
      notice ? banner("notice", notice) : null,
      el("h2", {}, "Dead letters"),
      el("p", { class: "lead" }, "These documents were sent, and failed or were cancelled. No run sends them again by itself, because Extend would charge for it."),
      failed ? [this.reasons(byReason), this.listed(total)] : empty("There are none: nothing that was sent has failed."),
    );
    this.drawRows();
  }

  reasons(byReason) {
    const rows = Object.entries(byReason)
      .sort(([, one], [, other]) => other - one)
      .map(([reason, total]) => {
        const shown = reason === this.reason;
        const open = viewLink(this.context.pipeline, ["dead_letters"], reason, { "aria-current": shown ? "true" : null, "data-key": `reason-${reason}` }, { reason });
        const send = el("button", { type: "button", "data-key": `send-${reason}`, on: this.clicked(() => this.sendReason(reason)) }, "Send again", el("span", { class: "hidden-text" }, ` all ${count(total)} with ${reason}`));
        return row({ class: shown ? "chosen" : null }, el("th", { scope: "row" }, open), number(count(total)), send);
      });
    const columns = ["Reason", { name: "Documents", number: true }, { name: "Send again", hidden: true }];
    const all = this.reason ? viewLink(this.context.pipeline, ["dead_letters"], "Show all reasons") : null;
    return el("section", { class: "reasons", "aria-label": "By reason" }, table("Dead letters by reason", columns, rows), all);
  }

  listed(total) {
    this.total = total;
    const all = el("input", { type: "checkbox", "aria-label": "Choose all that are listed", on: { change: (event) => this.chooseAll(event.target.checked) } });
    this.all = all;
    const heads = ["Document", "Reason", "Message", "Failed", "Attempts", "Credits", "Links"];
    const numbers = ["Attempts", "Credits"];
    const head = el("tr", {}, el("th", { scope: "col" }, all), heads.map((name) => el("th", { scope: "col", class: numbers.includes(name) ? "number" : null }, name)));
    return el(
      "section",
      { "aria-label": "Documents" },
      this.bar,
      el("div", { class: "table" }, el("table", { "aria-label": "Dead letters" }, el("thead", {}, head), this.body)),
      this.more,
    );
  }

  drawRows() {
    fill(this.body, this.rows.map((letter) => this.drawRow(letter)));
    const rest = this.total - this.rows.length;
    const load = el("button", { type: "button", on: this.clicked(() => this.loadMore()) }, `Show ${count(Math.min(rest, PAGE_SIZE))} more`);
    fill(this.more, this.answer.next ? [load, ` of ${count(rest)}`] : null);
    this.drawBar();
  }

  drawRow(letter) {
    const { pipeline } = this.context;
    const key = keyOf(letter);
    const choose = el("input", {
      type: "checkbox",
      checked: this.chosen.has(key),
      disabled: letter.resending,
      "aria-label": `Choose ${letter.name}`,
      on: { change: (event) => this.choose(letter, event.target.checked) },
    });
    const links = [webLink(letter.dashboard_url, "Extend"), airflowLink(letter.run_path, "Run")].filter(Boolean);
    return row(
      {},
      choose,
      el("td", { class: "address" }, viewLink(pipeline, ["documents", letter.document_id], letter.name, { title: letter.address }), el("div", { class: "quiet" }, letter.address)),
      [letter.reason, letter.status === "FAILED" ? null : el("div", { class: "quiet" }, statusName(letter.status)), letter.resending ? el("div", { class: "quiet" }, "being sent again") : null],
      el("td", { class: "wide" }, letter.message),
      ago(letter.at),
      number(count(letter.attempts)),
      number(credits(letter.credits)),
      el("td", { class: "links" }, links),
    );
  }

  async loadMore() {
    const answer = await this.ask(this.answer.next);
    const known = new Set(this.rows.map(keyOf)); // pages shift when documents fail, or land, meanwhile
    this.answer = { ...this.answer, next: answer.next };
    this.rows = [...this.rows, ...answer.rows.filter((letter) => !known.has(keyOf(letter)))];
    this.drawRows();
  }

  choose(letter, wanted) {
    if (wanted) this.chosen.set(keyOf(letter), letter);
    else this.chosen.delete(keyOf(letter));
    this.drawBar();
  }

  chooseAll(wanted) {
    for (const letter of this.rows.filter((one) => !one.resending)) {
      if (wanted) this.chosen.set(keyOf(letter), letter);
      else this.chosen.delete(keyOf(letter));
    }
    this.drawRows();
  }

  drawBar() {
    const chosen = this.chosen.size;
    this.all.checked = chosen > 0 && chosen === this.rows.filter((one) => !one.resending).length;
    this.all.indeterminate = chosen > 0 && !this.all.checked;
    const send = el(
      "button",
      { type: "button", class: "primary", disabled: !chosen, "data-key": "send-chosen", on: this.clicked(() => this.sendChosen()) },
      chosen ? `Send ${documents(chosen)} again` : "Send again",
    );
    const of = this.reason ? ` with ${this.reason}` : "";
    fill(this.bar, el("span", { role: "status" }, chosen ? `${count(chosen)} of ${count(this.total)}${of} chosen` : `${documents(this.total)}${of}`), send);
  }

  async sendReason(reason) {
    const { pipeline, signal } = this.context;
    const query = { group: pipeline.task_group, reason, limit: 1 };
    const { send_again: runs } = await fromPage([pipeline.dag_id, "dead_letters"], query, signal);
    await this.send(runs, `All with the reason ${reason}.`);
  }

  async sendChosen() {
    const chosen = [...this.chosen.values()];
    const runs = this.answer.send_again
      .map((run) => {
        const own = chosen.filter((letter) => letter.workflow_id === run.workflow_id && letter.version === run.version);
        return { ...run, documents: own.length, credits: costOf(own), conf: { ...run.conf, documents: own.map((letter) => letter.document_id).join("\n") } };
      })
      .filter((run) => run.documents);
    await this.send(runs, chosen.length === 1 ? chosen[0].address : `${count(chosen.length)} that you have chosen.`);
  }

  async send(runs, which) {
    if (await sendAgain(runs, which, this.context)) await this.load();
  }
}

const keyOf = (letter) => [letter.document_id, letter.workflow_id, letter.version].join(" ");

function costOf(letters) {
  const known = letters.map((letter) => letter.credits).filter((value) => value !== null);
  return known.length ? known.reduce((all, value) => all + value, 0) : null;
}
