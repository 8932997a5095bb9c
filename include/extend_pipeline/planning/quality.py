"""Finish: what became of a run's documents, and whether that is success."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from extend_pipeline.planning.plan import Plan

#: Statuses that count as failed; a rejection by a reviewer is a decision, not a failure.
FAILED_STATUSES = ("FAILED", "CANCELLED")


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What one run has landed.

    :ivar plan: what the run was going to do.
    :ivar chunks: chunks that have landed.
    :ivar by_status: landed documents by status, those that were never sent included.
    :ivar by_reason: landed documents that have a reason, by reason.
    :ivar credits: credits that Extend charged for them.
    :ivar rows: rows written, by table.
    :ivar held: landed documents that are held back until somebody approves them.
    :ivar voided: chunks whose documents another run has taken over before they were sent.
    """

    plan: Plan
    chunks: int
    by_status: Counter[str]
    by_reason: Counter[str]
    credits: float
    rows: Counter[str]
    held: int = 0
    voided: int = 0

    @classmethod
    def of(
        cls, plan: Plan, landings: Iterable[Mapping[str, Any]], unsent: Mapping[str, Any], *, voided: int = 0
    ) -> Outcome:
        """Add up what the chunks' loads, and the load of the unsent documents, reported."""
        by_status, by_reason, rows = Counter[str](), Counter[str](), Counter[str]()
        credits, chunks, held = 0.0, 0, 0
        chunk_landings = list(landings)
        for landing in [*chunk_landings, unsent]:
            by_status.update(landing.get("by_status", {}))
            by_reason.update(landing.get("by_reason", {}))
            rows.update(landing.get("rows", {}))
            credits += landing.get("credits", 0.0)
            held += landing.get("held", 0)
        chunks = len(chunk_landings)
        return cls(plan, chunks, by_status, by_reason, credits, rows, held, voided)

    @property
    def failed(self) -> int:
        """Documents that failed or were cancelled."""
        return sum(self.by_status[status] for status in FAILED_STATUSES)

    @property
    def in_review(self) -> int:
        """Documents that wait for a reviewer at Extend."""
        return self.by_status["NEEDS_REVIEW"]

    @property
    def settled(self) -> int:
        """Documents that were sent, or were to be sent, and have a row now."""
        return self.by_status.total() - self.by_status["SKIPPED"]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values, as the asset event carries them."""
        return {
            "discovered": self.plan.discovered,
            "already_landed": self.plan.already_landed,
            "sent": self.plan.to_send,
            "left": self.plan.left,
            "by_status": dict(self.by_status),
            "by_reason": dict(self.by_reason),
            "in_review": self.in_review,
            "held_for_approval": self.held,
            "credits": self.credits,
            "rows": dict(self.rows),
        }

    def describe(self) -> str:
        """Say the outcome in a few lines for the log."""
        statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(self.by_status.items()))
        lines = [f"{self.by_status.total():,} documents have a row: {statuses or 'none'}."]
        if self.by_reason:
            lines.append("Reasons: " + ", ".join(f"{n:,} {r}" for r, n in self.by_reason.most_common()) + ".")
        if self.in_review:
            lines.append(f"{self.in_review:,} documents wait for a reviewer at Extend.")
        if self.held:
            lines.append(f"{self.held:,} documents are held back until somebody approves them in Airflow.")
        if self.voided:
            lines.append(f"{self.voided:,} chunks were not sent: other runs have their documents now.")
        lines.append(f"Extend charged {self.credits:,.10g} credits.")
        return "\n".join(lines)


def landed_in_rounds(landings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what the rounds of a chunk have landed.

    :param landings: in the order of landing; the last one has all the chunk's documents, as they stand then.
    """
    rows = Counter[str]()
    for landing in landings:
        rows.update(landing["rows"])
    return {**landings[-1], "rows": dict(rows), "credits": sum(landing["credits"] for landing in landings)}


def objection(
    outcome: Outcome,
    *,
    max_failed: int | None,
    max_failed_ratio: float | None,
    fail_on_review: bool = False,
) -> str | None:
    """Return why a run must not count as success, or None.

    :param max_failed: more failed documents than this are too many; None allows any number.
    :param max_failed_ratio: a larger share of the settled documents than this is too much; None allows any.
    :param fail_on_review: documents that wait for a reviewer are a failure.
    """
    if outcome.plan.dry_run:
        return None
    missing = len(outcome.plan.chunks) - outcome.chunks - outcome.voided
    if missing > 0:
        return (
            f"{missing:,} of {len(outcome.plan.chunks):,} chunks have not landed; the others have. See the "
            "failed tasks of those chunks, and clear them: documents that were sent are not sent again."
        )
    if fail_on_review and outcome.in_review:
        waiting = f"{outcome.in_review:,} documents wait for a reviewer"
        return f"{waiting}, and on_needs_review='fail'. Everything has landed."
    if max_failed is not None and outcome.failed > max_failed:
        return _too_many(outcome, f"max_failed={max_failed}")
    if max_failed_ratio is not None and outcome.failed > max_failed_ratio * outcome.settled:
        return _too_many(outcome, f"max_failed_ratio={max_failed_ratio:g}")
    return None


def _too_many(outcome: Outcome, policy: str) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in outcome.by_reason.most_common(5))
    return (
        f"{outcome.failed:,} of {outcome.settled:,} documents failed ({reasons}), more than {policy} allows. "
        "Everything has landed; the failed documents are the rows of the documents table with status FAILED "
        "or CANCELLED."
    )
