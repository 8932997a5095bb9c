"""The plan of a run in numbers: what was found, what is sent, what is left, what it costs. Pure."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, Final

from extend_pipeline.batches.reservations import ChunkReference
from extend_pipeline.planning.estimate import Estimate

#: Fields of a plan that are not plain values.
_COUNTERS: Final = ("unsent", "theirs", "types_to_send", "types_left")
_ESTIMATES: Final = ("estimate", "estimate_left")
#: How many runs that have planned the same documents are named.
_TOLD_RUNS: Final = 3


@dataclasses.dataclass(slots=True)
class Plan:
    """What a run is going to do, in numbers.

    :ivar discovered: documents found in the source.
    :ivar already_landed: of these, documents that have landed before for this workflow and version.
    :ivar beyond_limit: of these, documents left for a later run because of ``limit``.
    :ivar beyond_map: of these, documents left for a later run because Airflow maps no more chunks in one.
    :ivar most_chunks: how many it maps; None for any number.
    :ivar unsent: of these, documents that cannot be sent, by reason.
    :ivar to_send: of these, documents in chunks of this run.
    :ivar held: of these, documents that somebody has begun to send, and that have not landed yet.
    :ivar theirs: of these, documents that an active run has planned and not sent yet, by the run. With the
        six above this is ``discovered``.
    :ivar bytes_to_send: size of the documents to send, in bytes.
    :ivar types_to_send: number of the documents to send by file type.
    :ivar types_left: the same of the documents left for a later run.
    :ivar chunks: all chunks that this run works on: its own, and those that are on their way already.
    :ivar new_chunks: how many of them, the first ones, are its own.
    :ivar freed: chunks that nobody has begun to send, of runs that are over, whose documents it takes over.
    :ivar repetition: the name of the reprocessing; empty for the first time.
    :ivar estimate: what the documents to send are going to cost.
    :ivar estimate_left: what the documents left for a later run are going to cost.
    :ivar refused: why the plan is not carried out; None if it is.
    :ivar nothing_left: the repetition that earlier runs have begun is through.
    """

    discovered: int = 0
    already_landed: int = 0
    beyond_limit: int = 0
    beyond_map: int = 0
    most_chunks: int | None = None
    unsent: Counter[str] = dataclasses.field(default_factory=Counter)
    to_send: int = 0
    held: int = 0
    theirs: Counter[str] = dataclasses.field(default_factory=Counter)
    bytes_to_send: int = 0
    types_to_send: Counter[str] = dataclasses.field(default_factory=Counter)
    types_left: Counter[str] = dataclasses.field(default_factory=Counter)
    chunks: list[ChunkReference] = dataclasses.field(default_factory=list)
    new_chunks: int = 0
    freed: list[str] = dataclasses.field(default_factory=list)
    repetition: str = ""
    estimate: Estimate = dataclasses.field(default_factory=lambda: Estimate(None))
    estimate_left: Estimate = dataclasses.field(default_factory=lambda: Estimate(0.0))
    refused: str | None = None
    dry_run: bool = False
    nothing_left: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        counters = {name: dict(values[name]) for name in _COUNTERS}
        figures = {name: dataclasses.asdict(values[name]) for name in _ESTIMATES}
        values.pop("freed")
        return {**values, **counters, **figures}

    def summary(self) -> dict[str, Any]:
        """Return the plan in numbers, small whatever it holds, fit for XCom."""
        return {
            "summary": (
                f"{self.to_send:,} documents in {self.new_chunks:,} new chunks, {self.already_landed:,} "
                f"landed before; credits: {self.estimate.describe()}"
            ),
            "dry_run": self.dry_run,
            "refused": self.refused,
            "discovered": self.discovered,
            "already_landed": self.already_landed,
            "unsent": self.unsent.total(),
            "held": self.held,
            "theirs": dict(self.theirs.most_common(_TOLD_RUNS)),
            "left": self.left,
            "repetition": self.repetition,
            "to_send": self.to_send,
            "chunks": len(self.chunks),
            "credits": self.estimate.credits,
            "credits_left": self.estimate_left.credits,
        }

    @property
    def left(self) -> int:
        """Documents left for a later run."""
        return self.beyond_limit + self.beyond_map

    def describe(self) -> str:
        """Say the plan in a few lines for the log; a dry run and a refused plan have the same lines."""
        if not self.discovered:
            return "0 documents: the source holds nothing to process."
        if self.nothing_left:
            return (
                f"Nothing left: all {self.already_landed:,} documents have landed in the repetition "
                f"{self.repetition}. To send them once more, run again, or name another repetition."
            )
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.unsent.items()))
        runs = "; ".join(f"{count:,} to {run}" for run, count in self.theirs.most_common(_TOLD_RUNS))
        counts = [
            (self.discovered, "documents found"),
            (self.already_landed, "landed before"),
            (self.unsent.total(), f"cannot be sent ({reasons})" if reasons else "cannot be sent"),
            (self.held, "already sent, waited for; outside of this run's bounds"),
            *([(self.theirs.total(), f"left to the run that has planned them ({runs})")] if runs else []),
            (self.beyond_limit, "left for a later run by the limit"),
            *(
                [(self.beyond_map, "left for a later run by [core] max_map_length")]
                if self.beyond_map
                else []
            ),
            (self.to_send, f"to send ({self.bytes_to_send / 1e6:,.1f} MB)"),
        ]
        width = len(f"{self.discovered:,}")
        return "\n".join(
            [
                "Plan of a dry run, nothing is sent:" if self.dry_run else "Plan:",
                *(f"  {count:>{width},} {what}" for count, what in counts),
                f"  Chunks: {len(self.chunks):,}, of which {self.new_chunks:,} new.",
                *([f"  Repetition: {self.repetition}{self._open}"] if self.repetition else []),
                f"  Credits: {self.estimate.describe()}.",
                *self._what_is_left(),
                *([f"  Refused: {self.refused}"] if self.refused else []),
            ]
        )

    @property
    def _open(self) -> str:
        return ", which later runs with reprocess='all' continue." if self.left else "."

    def _what_is_left(self) -> list[str]:
        if not self.left:
            return []
        lines = [
            f"  Left: {self.left:,} documents; credits {self.estimate_left.describe()}. Run again for them."
        ]
        if self.beyond_map:
            runs = -(-self.left // max(self.to_send, 1))
            lines.append(
                f"  One run works on {self.most_chunks:,} chunks at the most ([core] max_map_length): about "
                f"{runs:,} more runs of this size."
            )
        return lines
