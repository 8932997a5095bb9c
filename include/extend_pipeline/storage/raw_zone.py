"""The raw zone: runs exactly as Extend returned them, and the documents that they account for.

    raw/<pipeline>/<workflow>/<version>/<batch>/<part>.jsonl.gz             the runs, one a line
    …/<part>.documents.jsonl.gz                                             the documents it accounts for
    …/<part>.json                                                           its entry in the index
    …/<part>.landed.<dataset>.<connection>                                  a mark: it has landed there

A *part* is always this unit: the files of one batch, or of one look at reviews, that land together.

Invariant: a part has an entry before it lands (raw_index.py), and lands from it. The entry is written when
the other two files are whole, so files without an entry are no part. Decisions of people, and runs that were
deleted at Extend, are parts too, so the index alone is enough to rebuild the tables.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.storage.workspace import compressed_writer, read_compressed_lines
from extend_provider.batch.disk import on_disk

RUNS: Final = ".jsonl.gz"
_DOCUMENTS: Final = ".documents.jsonl.gz"
_NEWLINES: Final = bytes.maketrans(b"\r\n", b"  ")


def part_path(
    workspace: str, *, pipeline: str, workflow_id: str, version: str | None, batch: str, name: str
) -> ObjectStoragePath:
    """Return the file that holds a part's runs.

    :param pipeline: the DAG and task group that asked for the documents.
    :param batch: the batch's id, or another unique name for parts without a batch.
    """
    home = ObjectStoragePath(workspace) / "raw" / pipeline / workflow_id / (version or "latest") / batch
    return home / f"{name}{RUNS}"


def run_line(api_version: str, received: bytes) -> bytes:
    """Return a run as a line of the raw zone: its JSON text as it was received.

    A line break in JSON text is white space between values, so it is replaced by a space.
    """
    head = f'{{"api_version":{json.dumps(api_version)},"run":'.encode()
    return head + received.translate(_NEWLINES) + b"}\n"


def with_decision(line: bytes, decision: str, by: Mapping[str, Any]) -> bytes:
    """Return a line of the raw zone with a person's decision about its run; the run stays unchanged."""
    added = json.dumps({"approval": decision, "decided": dict(by)}, ensure_ascii=False)
    return line.rstrip()[:-1] + b"," + added[1:].encode() + b"\n"


def deleted_line(run_id: str) -> bytes:
    """Return the line of a run that was deleted at Extend, for a part that has only such lines."""
    return json.dumps({"run_id": run_id}).encode() + b"\n"


@dataclasses.dataclass(frozen=True, slots=True)
class RawPart:
    """A part that is whole.

    :ivar uri: the file with its runs.
    :ivar documents: how many it accounts for.
    :ivar runs: how many it holds.
    :ivar size_bytes: of the file with its runs.
    """

    uri: str
    batch_id: str | None
    documents: int
    runs: int
    size_bytes: int

    def read_documents(self) -> Iterator[Document]:
        """Read the documents back, one at a time."""
        for line in read_compressed_lines(beside(self.uri, _DOCUMENTS)):
            yield Document.from_json(line)

    def read_lines(self) -> Iterator[bytes]:
        """Read the lines of the runs back, one at a time."""
        return read_compressed_lines(ObjectStoragePath(self.uri))


class PartWriter:
    """Writes a part; a context manager. Its files appear when the block ends well.

    :ivar part: what was written, after the block.
    """

    part: RawPart

    def __init__(self, path: ObjectStoragePath, batch_id: str | None) -> None:
        self._path = path
        self._batch_id = batch_id
        self._documents = self._runs = 0
        self._files = contextlib.ExitStack()

    def __enter__(self) -> Self:
        uri = str(self._path)
        with contextlib.ExitStack() as opening:
            # Closed in reverse order: the documents' file appears before the runs' file.
            self._run_file = opening.enter_context(compressed_writer(self._path))
            self._document_file = opening.enter_context(compressed_writer(beside(uri, _DOCUMENTS)))
            self._files = opening.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.__exit__(exc_type, exc, traceback)
        if exc is None:
            size = on_disk(self._path).stat().st_size
            self.part = RawPart(str(self._path), self._batch_id, self._documents, self._runs, size)

    def add_document(self, document: Document) -> None:
        """Append a document that the part accounts for."""
        self._document_file.write(document.to_json() + b"\n")
        self._documents += 1

    def add_run(self, line: bytes) -> None:
        """Append a run's line, see :func:`run_line`."""
        self._run_file.write(line)
        self._runs += 1


def write_part(
    path: ObjectStoragePath,
    batch_id: str | None,
    documents: Iterable[Document],
    lines: Iterable[bytes] = (),
) -> RawPart:
    """Write a part from its documents and lines."""
    with PartWriter(path, batch_id) as writer:
        for document in documents:
            writer.add_document(document)
        for line in lines:
            writer.add_run(line)
    return writer.part


def beside(runs_uri: str, ending: str) -> ObjectStoragePath:
    """Return a part's file with this ending; ``runs_uri`` is its file of runs."""
    return ObjectStoragePath(runs_uri.removesuffix(RUNS) + ending)
