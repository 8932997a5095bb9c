"""Plan: which of the discovered documents are sent, in which chunks, at what cost; the rest is accounted for.

Nothing is claimed, landed or sent before the whole plan is known and within the run's bounds.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypedDict

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batch_ledger import batch_key
from extend_pipeline.documents import Document
from extend_pipeline.duration import Duration, Pace
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Settings
from extend_pipeline.spending import Estimate, file_type, refusal
from extend_pipeline.warehouse.records import Candidate, Warehouse
from extend_pipeline.workspace import read_documents, write_documents, written_whole

#: Fields of a plan that are not plain values.
_COUNTERS: Final = ("unsent", "types_to_send", "types_left")
_ESTIMATES: Final = ("estimate", "estimate_left")


class ChunkReference(TypedDict):
    """What travels through XCom of a chunk: the folder of the run that planned it, its key, its size."""

    folder: str
    key: str
    documents: int


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
    :ivar held: of these, documents in chunks that another run has planned and that have not landed yet. With
        the five above this is ``discovered``.
    :ivar bytes_to_send: size of the documents to send, in bytes.
    :ivar uploads: how many of them are sent as bytes, because they are to be, or have no URL.
    :ivar types_to_send: number of the documents to send by file type.
    :ivar types_left: the same of the documents left for a later run.
    :ivar chunks: all chunks that this run works on: its own, and those of other runs.
    :ivar new_chunks: how many of them, the first ones, nobody has claimed yet.
    :ivar estimate: what the documents to send are going to cost.
    :ivar estimate_left: what the documents left for a later run are going to cost.
    :ivar duration: how long the documents to send are going to take.
    :ivar refused: why the plan is not carried out; None if it is.
    """

    discovered: int = 0
    already_landed: int = 0
    beyond_limit: int = 0
    beyond_map: int = 0
    most_chunks: int | None = None
    unsent: Counter[str] = dataclasses.field(default_factory=Counter)
    to_send: int = 0
    held: int = 0
    bytes_to_send: int = 0
    uploads: int = 0
    types_to_send: Counter[str] = dataclasses.field(default_factory=Counter)
    types_left: Counter[str] = dataclasses.field(default_factory=Counter)
    chunks: list[ChunkReference] = dataclasses.field(default_factory=list)
    new_chunks: int = 0
    estimate: Estimate = dataclasses.field(default_factory=lambda: Estimate(None))
    estimate_left: Estimate = dataclasses.field(default_factory=lambda: Estimate(0.0))
    duration: Duration = dataclasses.field(default_factory=Duration)
    refused: str | None = None
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        counters = {name: dict(values[name]) for name in _COUNTERS}
        figures = {name: dataclasses.asdict(values[name]) for name in (*_ESTIMATES, "duration")}
        return {**values, **counters, **figures}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """Read back what :meth:`to_json` gave."""
        counters = {name: Counter(value[name]) for name in _COUNTERS}
        estimates = {name: Estimate(**value[name]) for name in _ESTIMATES}
        return cls(**{**value, **counters, **estimates, "duration": Duration(**value["duration"])})

    def summary(self) -> dict[str, Any]:
        """Return the plan in numbers, small whatever it holds, fit for XCom."""
        return {
            "summary": (
                f"{self.to_send:,} documents in {self.new_chunks:,} new chunks, {self.already_landed:,} "
                f"landed before; credits: {self.estimate.describe()}; duration: {self.duration.describe()}"
            ),
            "dry_run": self.dry_run,
            "refused": self.refused,
            "discovered": self.discovered,
            "already_landed": self.already_landed,
            "unsent": self.unsent.total(),
            "held": self.held,
            "left": self.left,
            "to_send": self.to_send,
            "chunks": len(self.chunks),
            "credits": self.estimate.credits,
            "credits_left": self.estimate_left.credits,
            "requests": self.duration.requests,
            "seconds": round(self.duration.seconds),
        }

    @property
    def left(self) -> int:
        """Documents left for a later run."""
        return self.beyond_limit + self.beyond_map

    def describe(self) -> str:
        """Say the plan in a few lines for the log; a dry run and a refused plan have the same lines."""
        if not self.discovered:
            return "0 documents: the source holds nothing to process."
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.unsent.items()))
        counts = [
            (self.discovered, "documents found"),
            (self.already_landed, "landed before"),
            (self.unsent.total(), f"cannot be sent ({reasons})" if reasons else "cannot be sent"),
            (self.held, "on their way in chunks of other runs, which are taken up"),
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
                f"  Credits: {self.estimate.describe()}.",
                f"  Duration: {self.duration.describe()}.",
                *self._what_is_left(),
                *([f"  Refused: {self.refused}"] if self.refused else []),
            ]
        )

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


def chunk_path(chunk: ChunkReference) -> ObjectStoragePath:
    """Return the file that lists a chunk's documents as they were discovered; it never changes."""
    return ObjectStoragePath(chunk["folder"]) / "chunks" / f"{chunk['key']}.jsonl"


def unsent_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    """Return the file that lists the documents of a run that cannot be sent, each with its reason."""
    return folder / "unsent.jsonl"


def make_plan(
    warehouse: Warehouse,
    settings: Settings,
    found: Iterable[Document],
    folder: ObjectStoragePath,
    *,
    max_chunks: int | None,
    requests_per_second: float | None,
) -> Plan:
    """Plan a run, see that it is within its bounds, and claim what is new; a dry run claims nothing.

    :param warehouse: nobody else may plan in it from here until it is closed.
    :param found: the discovered documents, in their order.
    :param folder: the run's.
    :param requests_per_second: of the connection; None for no limit.
    :raises PipelineInputError: with the plan, if it is beyond what the settings allow. Nothing is claimed.
    """
    asked_for = settings.asked_for
    discovered = 0

    def candidates() -> Iterator[Document]:
        nonlocal discovered
        for document in found:
            discovered += 1
            yield document

    plan = write_plan(
        warehouse.unlanded(candidates(), **asked_for, any_claim=settings.reprocess == "failed"),
        folder,
        key_of=lambda documents: batch_key(documents, **asked_for),
        chunk_size=settings.chunk_size,
        limit=settings.limit,
        max_chunks=max_chunks,
        is_uploaded=lambda document: settings.transfer == "upload" or document.uri.startswith("file://"),
    )
    plan.already_landed = discovered - plan.discovered
    plan.discovered = discovered
    plan.dry_run = settings.dry_run
    charges = warehouse.charges(workflow_id=settings.workflow_id, version=settings.version)
    plan.estimate = Estimate.of(plan.types_to_send, charges)
    plan.estimate_left = Estimate.of(plan.types_left, charges)
    plan.duration = Duration.of(
        documents=plan.to_send,
        uploads=plan.uploads,
        batches=-(-plan.to_send // settings.chunk_size),
        poke_interval=settings.poke_interval,
        requests_per_second=requests_per_second,
        pace=Pace.of(warehouse.landed_batches(settings.workflow_id)),
    )
    plan.refused = refusal(plan, max_documents=settings.max_documents, max_credits=settings.max_credits)
    if not settings.dry_run:
        if plan.refused:
            raise PipelineInputError(f"The plan is refused; nothing was sent to Extend. {plan.describe()}")
        warehouse.claim(newly_planned(plan), **asked_for)
    return plan


def write_plan(
    candidates: Iterable[Candidate],
    folder: ObjectStoragePath,
    *,
    key_of: Callable[[Sequence[Document]], str],
    chunk_size: int,
    limit: int | None = None,
    max_chunks: int | None = None,
    is_uploaded: Callable[[Document], bool] = lambda document: False,
) -> Plan:
    """Write the chunk files and the list of unsent documents; return the plan.

    A chunk's file is named by its content, so a plan that is repeated never changes one that somebody holds.

    :param candidates: documents that have not landed, in the order of discovery, each with the chunk that
        holds it already.
    :param key_of: the key of the chunk of these documents.
    :param limit: send at most so many documents.
    :param max_chunks: as many chunks as Airflow maps; documents beyond them are left for a later run. A chunk
        of this run comes before those of others, which are then left to them.
    :param is_uploaded: whether a document is going to be uploaded.
    """
    plan = Plan(most_chunks=max_chunks)
    held = _Held(str(folder))
    fresh = 0
    with written_whole(unsent_path(folder)) as unsent:

        def sendable() -> Iterator[Document]:
            nonlocal fresh
            for document, chunk in candidates:
                plan.discovered += 1
                if document.status is not None:
                    plan.unsent[document.reason or document.status] += 1
                    unsent.write(document.to_json() + b"\n")
                elif chunk is not None:
                    if held.add(chunk):
                        count_to_send(document)
                elif limit is not None and plan.to_send >= limit:
                    plan.beyond_limit += 1
                    plan.types_left[file_type(document.name)] += 1
                elif max_chunks is not None and held.own + fresh // chunk_size >= max_chunks:
                    plan.beyond_map += 1
                    plan.types_left[file_type(document.name)] += 1
                else:
                    fresh += 1
                    count_to_send(document)
                    yield document

        def count_to_send(document: Document) -> None:
            plan.to_send += 1
            plan.bytes_to_send += document.size_bytes
            plan.uploads += is_uploaded(document)
            plan.types_to_send[file_type(document.name)] += 1

        for documents in _batched(sendable(), chunk_size):
            chunk = ChunkReference(folder=str(folder), key=key_of(documents), documents=len(documents))
            write_documents(chunk_path(chunk), documents)
            plan.chunks.append(chunk)
    plan.new_chunks = len(plan.chunks)
    room = None if max_chunks is None else max(max_chunks - plan.new_chunks, 0)
    taken_up, plan.held, not_taken_up = held.within(room)
    plan.chunks.extend(taken_up)
    plan.beyond_map += not_taken_up
    return plan


class _Held:
    """Chunks that hold documents already: of this run, if its plan is repeated, or of others.

    :ivar own: how many are this run's.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._chunks: dict[str, tuple[ChunkReference, bool]] = {}
        self._documents = Counter[str]()
        self.own = 0

    def add(self, chunk: str) -> bool:
        """Count a document of the chunk, and return whether that is this run's."""
        known = self._chunks.get(chunk)
        if known is None:
            reference: ChunkReference = json.loads(chunk)
            known = self._chunks[chunk] = (reference, reference["folder"] == self._folder)
            self.own += known[1]
        self._documents[chunk] += 1
        return known[1]

    def within(self, room: int | None) -> tuple[list[ChunkReference], int, int]:
        """Return as many chunks as there is room for, and the documents in others' that are, and are not."""
        own = [reference for reference, is_own in self._chunks.values() if is_own]
        others = [chunk for chunk, (_, is_own) in self._chunks.items() if not is_own]
        end = len(others) if room is None else max(room - len(own), 0)
        taken = [self._chunks[chunk][0] for chunk in others[:end]]
        counts = [self._documents[chunk] for chunk in others]
        return own + taken, sum(counts[:end]), sum(counts[end:])


def _batched(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    for document in documents:
        chunk.append(document)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def newly_planned(plan: Plan) -> Iterator[tuple[Document, str]]:
    """Yield the documents of the plan's new chunks, each with its chunk's reference as text."""
    for chunk in plan.chunks[: plan.new_chunks]:
        reference = json.dumps(chunk)
        for document in read_documents(chunk_path(chunk)):
            yield document, reference
