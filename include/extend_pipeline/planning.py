"""Plan: which of the discovered documents are sent, in which chunks; the rest is accounted for."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypedDict

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.warehouse.records import Candidate
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
    :ivar chunks: all chunks that this run works on: its own, and those of other runs.
    """

    discovered: int = 0
    already_landed: int = 0
    beyond_limit: int = 0
    unsent: Counter[str] = dataclasses.field(default_factory=Counter)
    to_send: int = 0
    held: int = 0
    bytes_to_send: int = 0
    chunks: list[ChunkReference] = dataclasses.field(default_factory=list)
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "unsent": dict(self.unsent)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """Read back what :meth:`to_json` gave."""
        return cls(**{**value, "unsent": Counter(value["unsent"])})

    def describe(self) -> str:
        """Say the plan in a few words for the log."""
        if not self.discovered:
            return "0 documents: the source holds nothing to process."
        unsent = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.unsent.items()))
        parts = [
            f"{self.discovered:,} documents found",
            f"{self.already_landed:,} landed before",
            f"{self.unsent.total():,} cannot be sent" + (f" ({unsent})" if unsent else ""),
            f"{self.to_send:,} to send ({self.bytes_to_send / 1e6:,.1f} MB)",
        ]
        if self.held:
            parts.append(f"{self.held:,} on their way in chunks of other runs, which are taken up")
        if self.beyond_limit:
            parts.append(f"{self.beyond_limit:,} left for a later run by the limit")
        intent = "Dry run, nothing is sent: " if self.dry_run else ""
        return f"{intent}{'; '.join(parts)}. Chunks: {len(self.chunks):,}."


def chunk_path(chunk: ChunkReference) -> ObjectStoragePath:
    """Return the file that lists a chunk's documents as they were discovered; it never changes."""
    return ObjectStoragePath(chunk["folder"]) / "chunks" / f"{chunk['key']}.jsonl"


def unsent_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    """Return the file that lists the documents of a run that cannot be sent, each with its reason."""
    return folder / "unsent.jsonl"


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
                    unsent.write(document.to_json().encode() + b"\n")
                elif chunk is not None:
                    _count_held(plan, held.setdefault(chunk, json.loads(chunk)), folder, document)
                elif limit is not None and plan.to_send >= limit:
                    plan.beyond_limit += 1
                else:
                    plan.to_send += 1
                    plan.bytes_to_send += document.size_bytes
                    yield document

        for documents in _batched(sendable(), chunk_size):
            chunk = ChunkReference(folder=str(folder), key=key_of(documents), documents=len(documents))
            write_documents(chunk_path(chunk), documents)
            plan.chunks.append(chunk)
            _check_number(len(plan.chunks) + len(held), max_chunks)
    plan.chunks.extend(held.values())
    _check_number(len(plan.chunks), max_chunks)
    return plan


def _count_held(plan: Plan, chunk: ChunkReference, folder: ObjectStoragePath, document: Document) -> None:
    """Count a document that is in a chunk already: one of this run, if its plan is repeated, or another's."""
    if chunk["folder"] == str(folder):
        plan.to_send += 1
        plan.bytes_to_send += document.size_bytes
    else:
        plan.held += 1


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


def planned_documents(plan: Plan, folder: ObjectStoragePath) -> Iterator[tuple[Document, str]]:
    """Yield the documents of the plan's own chunks, each with its chunk's reference as text."""
    for chunk in plan.chunks:
        if chunk["folder"] == str(folder):
            reference = json.dumps(chunk)
            for document in read_documents(chunk_path(chunk)):
                yield document, reference
