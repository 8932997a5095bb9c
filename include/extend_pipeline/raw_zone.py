"""The raw zone: what Extend answered, as it was received, and all that it takes to land it again.

    raw/<pipeline>/<workflow>/<version>/<batch>/<part>.jsonl.gz             the runs, one a line
    …/<part>.documents.jsonl.gz                                             the documents it accounts for
    …/<part>.json                                                           its entry in the index

Invariant: whatever lands has an entry first, and lands from it. The entry is written when the other two files
are whole, so a part without one is none. What somebody decided here, and runs that Extend does not have any
more, are parts too; so the index alone tells how the tables came to be.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.warehouse.records import AS_BEFORE, Landing, LandingPolicy, Provenance, Warehouse
from extend_pipeline.workspace import compressed_writer, read_compressed_lines, read_json, write_json

_RUNS: Final = ".jsonl.gz"
_DOCUMENTS: Final = ".documents.jsonl.gz"
_ENTRY: Final = ".json"
#: Entries are small and many; an object store answers each after a while.
_READERS: Final = 16
_NEWLINES: Final = bytes.maketrans(b"\r\n", b"  ")


def part_path(
    workspace: str, *, pipeline: str, workflow_id: str, version: str | None, batch: str, name: str
) -> ObjectStoragePath:
    """Return the file that holds a part's runs.

    :param pipeline: the DAG and task group that asked for the documents.
    :param batch: the batch's id, or what tells parts without one apart.
    """
    home = ObjectStoragePath(workspace) / "raw" / pipeline / workflow_id / (version or "latest") / batch
    return home / f"{name}{_RUNS}"


def run_line(api_version: str, received: bytes) -> bytes:
    """Return a run as a line of the raw zone: its JSON text as it was received.

    Between the values of a JSON text a line's end is a space like any other, and within them it cannot be.
    """
    head = f'{{"api_version":{json.dumps(api_version)},"run":'.encode()
    return head + received.translate(_NEWLINES) + b"}\n"


def with_decision(line: bytes, decision: str, by: Mapping[str, Any]) -> bytes:
    """Return a line of the raw zone with what somebody decided about its run; the run stays as it is."""
    added = json.dumps({"approval": decision, "decided": dict(by)}, ensure_ascii=False)
    return line.rstrip()[:-1] + b"," + added[1:].encode() + b"\n"


def deleted_line(run_id: str) -> bytes:
    """Return the line of a run that Extend does not have any more, in a part of such lines alone."""
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
        for line in read_compressed_lines(_beside(self.uri, _DOCUMENTS)):
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
            # Left in the opposite order: the documents are there before the runs.
            self._run_file = opening.enter_context(compressed_writer(self._path))
            self._document_file = opening.enter_context(compressed_writer(_beside(uri, _DOCUMENTS)))
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
            size = self._path.stat().st_size
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
    """Write a part whose documents and lines are at hand."""
    with PartWriter(path, batch_id) as writer:
        for document in documents:
            writer.add_document(document)
        for line in lines:
            writer.add_run(line)
    return writer.part


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A part's entry in the index: what it takes to land it, wherever.

    :ivar dataset: with ``warehouse_conn_id``: where it lands.
    :ivar provenance: with the time of its last landing.
    :ivar first_landed_at: of its first landing; in this order the tables came to be.
    :ivar deleted: of a part that tells of runs that Extend does not have any more: what rows are to say.
    """

    part: RawPart
    dataset: str
    warehouse_conn_id: str
    provenance: Provenance
    policy: LandingPolicy = AS_BEFORE
    first_landed_at: str = ""
    deleted: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain values, without the address: it is that of the files beside it."""
        origin = {**dataclasses.asdict(self.provenance), "landed_at": None, "raw_uri": None}
        landed_at = self.provenance.landed_at
        plain = {**dataclasses.asdict(self), "policy": self.policy._asdict(), "provenance": origin}
        plain["part"].pop("uri")
        return {**plain, "landed_at": landed_at.isoformat() if landed_at else None}

    @classmethod
    def from_json(cls, uri: str, plain: Mapping[str, Any]) -> Entry:
        """Read back what :meth:`to_json` gave.

        :param uri: the file with the part's runs.
        """
        landed_at = dt.datetime.fromisoformat(plain["landed_at"])
        origin = {**plain["provenance"], "raw_uri": uri, "landed_at": landed_at}
        return cls(
            part=RawPart(uri=uri, **plain["part"]),
            dataset=plain["dataset"],
            warehouse_conn_id=plain["warehouse_conn_id"],
            provenance=Provenance(**origin),
            policy=LandingPolicy(**plain["policy"]),
            first_landed_at=plain["first_landed_at"],
            deleted=plain["deleted"],
        )


def enter(entry: Entry) -> Entry:
    """Write a part's entry into the index, before the part lands; return it with the time of that.

    Call it while the warehouse is open, so that entries are written in the order in which their parts land.
    """
    now = dt.datetime.now(dt.UTC)
    path = _beside(entry.part.uri, _ENTRY)
    before = read_json(path)
    provenance = dataclasses.replace(entry.provenance, raw_uri=entry.part.uri, landed_at=now)
    first = before["first_landed_at"] if before else now.isoformat()
    entry = dataclasses.replace(entry, provenance=provenance, first_landed_at=first)
    write_json(path, entry.to_json())
    return entry


def land(warehouse: Warehouse, entry: Entry) -> Landing:
    """Land a part that is in the index."""
    return warehouse.land(
        entry.part.read_documents(),
        entry.part.read_lines(),
        provenance=entry.provenance,
        policy=entry.policy,
    )


def note_deleted(warehouse: Warehouse, entry: Entry) -> int:
    """Say on documents' rows what a part in the index says: Extend does not have their runs any more."""
    run_ids = (json.loads(line)["run_id"] for line in entry.part.read_lines())
    return warehouse.note_deleted_runs(run_ids, entry.deleted or "")


def read_index(workspace: str) -> list[Entry]:
    """Return the entries of the raw zone in the order in which their parts first landed.

    :raises PipelineInputError: if an entry cannot be read.
    """
    home = ObjectStoragePath(workspace) / "raw"
    with ThreadPoolExecutor(_READERS) as readers:
        entries = readers.map(_read_entry, home.rglob(f"*{_ENTRY}"))
        return sorted(entries, key=lambda entry: (entry.first_landed_at, entry.part.uri))


def _read_entry(path: ObjectStoragePath) -> Entry:
    try:
        return Entry.from_json(str(path).removesuffix(_ENTRY) + _RUNS, read_json(path) or {})
    except (KeyError, TypeError, ValueError) as error:
        raise PipelineInputError(
            f"{path} is no entry of the raw zone that can be read ({type(error).__name__}). Nothing has been "
            "landed; bring the file back as it was."
        ) from None


def _beside(runs_uri: str, ending: str) -> ObjectStoragePath:
    return ObjectStoragePath(runs_uri.removesuffix(_RUNS) + ending)
