"""Plan: which of the discovered documents are sent, in which chunks; the rest is accounted for."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, TypedDict

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.workspace import write_documents, written_whole


class ChunkReference(TypedDict):
    """What travels through XCom of a chunk: where its run's folder is, which chunk it is, how large."""

    folder: str
    index: int
    documents: int


@dataclasses.dataclass(slots=True)
class Plan:
    """What a run is going to do, in numbers.

    :ivar discovered: documents found in the source.
    :ivar already_landed: of these, documents that have landed before for this workflow and version.
    :ivar beyond_limit: of these, documents left for a later run because of ``limit``.
    :ivar unsent: of these, documents that cannot be sent, by reason.
    :ivar to_send: of these, documents in chunks; with the three above this is ``discovered``.
    :ivar bytes_to_send: their size in bytes.
    :ivar chunks: number of chunks.
    """

    discovered: int = 0
    already_landed: int = 0
    beyond_limit: int = 0
    unsent: Counter[str] = dataclasses.field(default_factory=Counter)
    to_send: int = 0
    bytes_to_send: int = 0
    chunks: int = 0
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
            f"{self.to_send:,} to send in {self.chunks:,} chunks ({self.bytes_to_send / 1e6:,.1f} MB)",
        ]
        if self.beyond_limit:
            parts.append(f"{self.beyond_limit:,} left for a later run by the limit")
        return ("Dry run, nothing is sent: " if self.dry_run else "") + "; ".join(parts) + "."


def chunk_path(folder: ObjectStoragePath, index: int) -> ObjectStoragePath:
    """Return the file that lists a chunk's documents as they were discovered."""
    return folder / "chunks" / f"{index:05d}.jsonl"


def unsent_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    """Return the file that lists the documents of a run that cannot be sent, each with its reason."""
    return folder / "unsent.jsonl"


def write_plan(
    documents: Iterable[Document],
    folder: ObjectStoragePath,
    *,
    chunk_size: int,
    limit: int | None = None,
    max_chunks: int | None = None,
) -> Plan:
    """Write the chunk files and the list of unsent documents; return the plan.

    The same documents in the same order give the same chunks, so that a repeated plan finds the batches of
    the first one.

    :param documents: those that have not landed yet, in the order of discovery.
    :param limit: send at most so many documents.
    :param max_chunks: refuse a plan of more chunks than Airflow maps.
    :raises PipelineInputError: if there would be more chunks than ``max_chunks``.
    """
    plan = Plan()
    with written_whole(unsent_path(folder)) as unsent:

        def sendable() -> Iterator[Document]:
            for document in documents:
                plan.discovered += 1
                if document.status is not None:
                    plan.unsent[document.reason or document.status] += 1
                    unsent.write(document.to_json().encode() + b"\n")
                elif limit is not None and plan.to_send >= limit:
                    plan.beyond_limit += 1
                else:
                    plan.to_send += 1
                    plan.bytes_to_send += document.size_bytes
                    yield document

        for chunk in _batched(sendable(), chunk_size):
            if max_chunks is not None and plan.chunks >= max_chunks:
                raise PipelineInputError(
                    f"More than {max_chunks:,} chunks of {chunk_size:,} documents are to be sent, and "
                    "Airflow maps no more tasks than that. Nothing was sent to Extend. Raise [core] "
                    "max_map_length, or set a limit and run again for the rest."
                )
            write_documents(chunk_path(folder, plan.chunks), chunk)
            plan.chunks += 1
    return plan


def _batched(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    for document in documents:
        chunk.append(document)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def chunk_references(folder: ObjectStoragePath, plan: Plan, chunk_size: int) -> list[ChunkReference]:
    """Return one small reference per chunk, in order."""
    return [
        {
            "folder": str(folder),
            "index": index,
            "documents": min(chunk_size, plan.to_send - index * chunk_size),
        }
        for index in range(plan.chunks)
    ]
