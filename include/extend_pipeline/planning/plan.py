"""The plan of a run in numbers: what was found, what is sent, what is left, what it costs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.reservations import ChunkReference
from extend_pipeline.planning.estimate import Estimate
from extend_pipeline.storage.formats import opened, sealed
from extend_pipeline.storage.workspace import read_json, write_json

#: The format of a stored plan, see storage.formats.
_FORMAT: Final = 1
#: How many other runs that planned the same documents are named.
NAMED_RUNS: Final = 3


@dataclasses.dataclass(slots=True)
class Plan:
    """What a run will do, in numbers.

    Each discovered document counts in exactly one of ``already_landed``, ``unsent``, ``to_send``, ``held``,
    ``theirs``, ``beyond_limit`` and ``beyond_map``.

    :ivar discovered: documents found in the source.
    :ivar already_landed: documents that have landed before for this workflow and version.
    :ivar beyond_limit: documents left for a later run because of ``limit``.
    :ivar beyond_map: documents left for a later run because Airflow maps no more chunks in one run.
    :ivar most_chunks: the most chunks that Airflow maps; None for any number.
    :ivar unsent: documents that cannot be sent, by reason.
    :ivar to_send: documents in new chunks of this run.
    :ivar held: documents that somebody has begun to send, and that have not landed yet.
    :ivar theirs: documents that an active run has planned and not sent yet, by the name of that run.
    :ivar bytes_to_send: size of the documents to send, in bytes.
    :ivar types_to_send: documents to send, by file type.
    :ivar types_left: documents left for a later run, by file type.
    :ivar chunks: all chunks that this run works on: first the new ones, then those that are already sent.
    :ivar new_chunks: how many of them are new.
    :ivar freed: chunks of finished runs that nobody has begun to send; the plan takes their documents.
    :ivar repetition: the name of the repetition; empty for the first time.
    :ivar estimate: the cost of the documents to send.
    :ivar estimate_left: the cost of the documents left for a later run.
    :ivar refused: why the plan is not carried out; None if it is.
    :ivar nothing_left: whether the repetition that earlier runs have begun is complete.
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

    def refusal(self, *, max_documents: int | None, max_credits: float | None) -> str | None:
        """Return why the plan must not be carried out, or None.

        A plan without new chunks is never refused: what other runs hold was checked by the runs that planned
        it, and so was what an earlier attempt of this run has claimed.

        :param max_documents: the most documents to send; None allows any number.
        :param max_credits: the highest estimate; an unknown cost is above it. None allows any.
        """
        if not self.new_chunks:
            return None
        credits = self.estimate.credits
        if max_documents is not None and self.to_send > max_documents:
            return (
                f"{self.to_send:,} documents to send are more than max_documents={max_documents} allows. "
                "Raise it, narrow the source, or set limit to send a part now and the rest in later runs."
            )
        if max_credits is not None and credits is None:
            return (
                f"max_credits={max_credits:g} cannot be kept, because no document of this workflow has been "
                "charged before and the cost is unknown. Run once with a small limit (and max_documents, if "
                "you like) and without max_credits; the charges of that run then give the estimate."
            )
        if max_credits is not None and credits is not None and credits > max_credits:
            return (
                f"About {credits:,.10g} credits are more than max_credits={max_credits:g} allows. Raise it, "
                "narrow the source, or set limit to send a part now and the rest in later runs."
            )
        return None

    def summary(self) -> dict[str, Any]:
        """Return the numbers for XCom; their size does not depend on the number of documents."""
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
            "theirs": dict(self.theirs.most_common(NAMED_RUNS)),
            "left": self.left,
            "repetition": self.repetition,
            "to_send": self.to_send,
            "chunks": len(self.chunks),
            "credits": self.estimate.credits,
            "credits_left": self.estimate_left.credits,
        }

    @property
    def left(self) -> int:
        """Number of documents left for a later run."""
        return self.beyond_limit + self.beyond_map

    def describe(self) -> str:
        """Return a few lines for the log; those of a dry run and of a refused plan are the same."""
        if not self.discovered:
            return "0 documents: the source is empty."
        if self.nothing_left:
            return (
                f"Nothing left: all {self.already_landed:,} documents have landed in the repetition "
                f"{self.repetition}. To send them once more, run again, or name another repetition."
            )
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.unsent.items()))
        runs = "; ".join(f"{count:,} to {run}" for run, count in self.theirs.most_common(NAMED_RUNS))
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


def keep_plan(folder: ObjectStoragePath, plan: Plan, unsent: Mapping[str, Any]) -> None:
    """Keep the plan of a run in its folder, with what the landing of its unsent documents reported."""
    plain = msgspec.to_builtins(plan)
    del plain["freed"]  # not needed later, and unbounded in size
    write_json(folder / "plan.json", sealed({"plan": plain, "unsent": dict(unsent)}, version=_FORMAT))


def read_plan(folder: ObjectStoragePath) -> tuple[Plan, dict[str, Any]] | None:
    """Read what :func:`keep_plan` kept, in this release or another one; None if there is no plan."""
    path = folder / "plan.json"
    plain = read_json(path)
    if plain is None:
        return None
    kept, _ = opened(plain, str(path), newest=_FORMAT)
    chunks = kept["plan"].pop("chunks", [])  # another release may have other fields in a chunk reference
    plan = msgspec.convert(kept["plan"], Plan, dec_hook=lambda kind, counts: Counter(counts))
    plan.chunks = chunks
    return plan, kept["unsent"]
