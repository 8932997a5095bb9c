"""The quality of a run: what has landed, and whether that counts as a success. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from extend_pipeline.planning.plan import Plan

#: Statuses that count as failed; a rejection by a reviewer is a decision, not a failure.
FAILED_STATUSES = ("FAILED", "CANCELLED")


@dataclasses.dataclass(slots=True)
class Landed:
    """What one run has landed.

    :ivar plan: the plan of the run.
    :ivar chunks: chunks that have landed.
    :ivar by_status: number of landed documents by status, including those that were never sent.
    :ivar by_reason: number of landed documents by reason, of those that have one.
    :ivar credits: credits that Extend charged for them.
    :ivar rows: rows written, by table.
    :ivar held: number of landed documents that are held back until somebody approves them.
    :ivar voided: number of chunks whose documents another run took over before they were sent.
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
    ) -> Landed:
        """Add up what the loads of the chunks, and the load of the unsent documents, reported."""
        chunks = list(landings)
        landed = cls(plan, len(chunks), Counter(), Counter(), 0.0, Counter(), 0, voided)
        for landing in [*chunks, unsent]:
            landed.by_status.update(landing.get("by_status", {}))
            landed.by_reason.update(landing.get("by_reason", {}))
            landed.rows.update(landing.get("rows", {}))
            landed.credits += landing.get("credits", 0.0)
            landed.held += landing.get("held", 0)
        return landed

    @property
    def failed(self) -> int:
        """Number of documents that failed or were cancelled."""
        return sum(self.by_status[status] for status in FAILED_STATUSES)

    @property
    def in_review(self) -> int:
        """Number of documents that wait for a reviewer at Extend."""
        return self.by_status["NEEDS_REVIEW"]

    @property
    def settled(self) -> int:
        """Number of documents that have a row and were not skipped."""
        return self.by_status.total() - self.by_status["SKIPPED"]

    def figures(self) -> dict[str, Any]:
        """Return the figures that the asset event carries, as plain values."""
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
        """Return a few lines for the log."""
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


def sum_of_rounds(landings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a chunk has landed, given what each of its rounds landed.

    :param landings: in the order of landing; the last one has all documents of the chunk, as they are then.
    """
    rows = Counter[str]()
    for landing in landings:
        rows.update(landing["rows"])
    return {**landings[-1], "rows": dict(rows), "credits": sum(landing["credits"] for landing in landings)}


def failure_reason(
    landed: Landed,
    *,
    max_failed: int | None,
    max_failed_ratio: float | None,
    fail_on_review: bool = False,
) -> str | None:
    """Return why the run must not count as a success, or None.

    :param max_failed: the most failed documents that are allowed; None allows any number.
    :param max_failed_ratio: the largest share of failed documents among the settled ones; None allows any.
    :param fail_on_review: whether documents that wait for a reviewer fail the run.
    """
    if landed.plan.dry_run:
        return None
    missing = len(landed.plan.chunks) - landed.chunks - landed.voided
    if missing > 0:
        return (
            f"{missing:,} of {len(landed.plan.chunks):,} chunks have not landed; the others have. See the "
            "failed tasks of those chunks, and clear them: documents that were sent are not sent again."
        )
    if fail_on_review and landed.in_review:
        waiting = f"{landed.in_review:,} documents wait for a reviewer"
        return f"{waiting}, and on_needs_review='fail'. Everything has landed."
    if max_failed is not None and landed.failed > max_failed:
        return _too_many(landed, f"max_failed={max_failed}")
    if max_failed_ratio is not None and landed.failed > max_failed_ratio * landed.settled:
        return _too_many(landed, f"max_failed_ratio={max_failed_ratio:g}")
    return None


def _too_many(landed: Landed, policy: str) -> str:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in landed.by_reason.most_common(5))
    return (
        f"{landed.failed:,} of {landed.settled:,} documents failed ({reasons}), more than {policy} allows. "
        "Everything has landed; the failed documents are the rows of the documents table with status FAILED "
        "or CANCELLED."
    )
