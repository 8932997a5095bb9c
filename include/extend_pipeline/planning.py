"""Plan: which of the discovered documents are sent, in which chunks, at what cost; the rest is accounted for.

Nothing is claimed, landed or sent before the whole plan is known and within the run's bounds.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypedDict

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batch_ledger import batch_key
from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Settings
from extend_pipeline.spending import Estimate, file_type, refusal, requests_needed
from extend_pipeline.warehouse.records import Candidate, Warehouse
from extend_pipeline.workspace import read_documents, write_documents, written_whole


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
    :ivar unsent: of these, documents that cannot be sent, by reason.
    :ivar to_send: of these, documents in chunks of this run.
    :ivar held: of these, documents in chunks that another run has planned and that have not landed yet. With
        the four above this is ``discovered``.
    :ivar bytes_to_send: size of the documents to send, in bytes.
    :ivar types_to_send: number of the documents to send by file type.
    :ivar chunks: all chunks that this run works on: its own, and those of other runs.
    :ivar new_chunks: how many of them, the first ones, nobody has claimed yet.
    :ivar estimate: what the documents to send are going to cost.
    :ivar requests: requests to Extend that the chunks take at the least.
    :ivar requests_per_second: how many of them the connection allows; None for no limit.
    :ivar refused: why the plan is not carried out; None if it is.
    """

    discovered: int = 0
    already_landed: int = 0
    beyond_limit: int = 0
    unsent: Counter[str] = dataclasses.field(default_factory=Counter)
    to_send: int = 0
    held: int = 0
    bytes_to_send: int = 0
    types_to_send: Counter[str] = dataclasses.field(default_factory=Counter)
    chunks: list[ChunkReference] = dataclasses.field(default_factory=list)
    new_chunks: int = 0
    estimate: Estimate = dataclasses.field(default_factory=lambda: Estimate(None))
    requests: int = 0
    requests_per_second: float | None = None
    refused: str | None = None
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        counters = {"unsent": dict(self.unsent), "types_to_send": dict(self.types_to_send)}
        return {**values, **counters, "estimate": dataclasses.asdict(self.estimate)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """Read back what :meth:`to_json` gave."""
        counters = {name: Counter(value[name]) for name in ("unsent", "types_to_send")}
        return cls(**{**value, **counters, "estimate": Estimate(**value["estimate"])})

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
            (self.to_send, f"to send ({self.bytes_to_send / 1e6:,.1f} MB)"),
        ]
        width = len(f"{self.discovered:,}")
        return "\n".join(
            [
                "Plan of a dry run, nothing is sent:" if self.dry_run else "Plan:",
                *(f"  {count:>{width},} {what}" for count, what in counts),
                f"  Chunks: {len(self.chunks):,}, of which {self.new_chunks:,} new.",
                f"  Credits: {self.estimate.describe()}.",
                f"  Duration: {self._duration()}.",
                *([f"  Refused: {self.refused}"] if self.refused else []),
            ]
        )

    def _duration(self) -> str:
        if self.requests_per_second is None:
            return f"unknown; {self.requests:,} requests at least, and the connection sets no rate"
        seconds = round(self.requests / self.requests_per_second)
        rate = f"{self.requests:,} requests at {self.requests_per_second:g} per second"
        return f"at least {dt.timedelta(seconds=seconds)} ({rate}), and the time that Extend takes"


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
    )
    plan.already_landed = discovered - plan.discovered
    plan.discovered = discovered
    plan.dry_run = settings.dry_run
    charges = warehouse.charges(workflow_id=settings.workflow_id, version=settings.version)
    plan.estimate = Estimate.of(plan.types_to_send, charges)
    plan.requests = requests_needed(plan.chunks, upload=settings.transfer == "upload")
    plan.requests_per_second = requests_per_second
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
) -> Plan:
    """Write the chunk files and the list of unsent documents; return the plan.

    A chunk's file is named by its content, so a plan that is repeated never changes one that somebody holds.

    :param candidates: documents that have not landed, in the order of discovery, each with the chunk that
        holds it already.
    :param key_of: the key of the chunk of these documents.
    :param limit: send at most so many documents.
    :param max_chunks: refuse a plan of more chunks than Airflow maps.
    :raises PipelineInputError: if there would be more chunks than ``max_chunks``.
    """
    plan = Plan()
    held: dict[str, ChunkReference] = {}
    with written_whole(unsent_path(folder)) as unsent:

        def sendable() -> Iterator[Document]:
            for document, chunk in candidates:
                plan.discovered += 1
                if document.status is not None:
                    plan.unsent[document.reason or document.status] += 1
                    unsent.write(document.to_json() + b"\n")
                elif chunk is not None:
                    _count_held(plan, held.setdefault(chunk, json.loads(chunk)), folder, document)
                elif limit is not None and plan.to_send >= limit:
                    plan.beyond_limit += 1
                else:
                    _count_to_send(plan, document)
                    yield document

        for documents in _batched(sendable(), chunk_size):
            chunk = ChunkReference(folder=str(folder), key=key_of(documents), documents=len(documents))
            write_documents(chunk_path(chunk), documents)
            plan.chunks.append(chunk)
            _check_number(len(plan.chunks) + len(held), max_chunks)
    plan.new_chunks = len(plan.chunks)
    plan.chunks.extend(held.values())
    _check_number(len(plan.chunks), max_chunks)
    return plan


def _count_held(plan: Plan, chunk: ChunkReference, folder: ObjectStoragePath, document: Document) -> None:
    """Count a document that is in a chunk already: one of this run, if its plan is repeated, or another's."""
    if chunk["folder"] == str(folder):
        _count_to_send(plan, document)
    else:
        plan.held += 1


def _count_to_send(plan: Plan, document: Document) -> None:
    plan.to_send += 1
    plan.bytes_to_send += document.size_bytes
    plan.types_to_send[file_type(document.name)] += 1


def _check_number(chunks: int, max_chunks: int | None) -> None:
    if max_chunks is not None and chunks > max_chunks:
        raise PipelineInputError(
            f"More than {max_chunks:,} chunks are to be worked on, and Airflow maps no more tasks than that. "
            "Nothing was sent to Extend. Raise [core] max_map_length, or set a limit and run again for the "
            "rest."
        )


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
