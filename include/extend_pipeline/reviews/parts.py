"""Parts of the raw zone with single runs out of several batches: the result of reviews and approvals.

<run folder>/<name>.jsonl    the parts with this name, in the order of their batches
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.reviews.decisions import ReviewSettings
from extend_pipeline.settings import Settings
from extend_pipeline.storage import raw_index
from extend_pipeline.storage.formats import Stored, decode, encode
from extend_pipeline.storage.raw_index import Entry, task_provenance
from extend_pipeline.storage.raw_zone import PartWriter, RawPart, part_path
from extend_pipeline.storage.workspace import opened, write_lines, written_whole
from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.records import LandedRun


class RunsPart(Stored, frozen=True, kw_only=True):
    """One part, and which runs it has: those of a batch with the same workflow version and repetition."""

    part: RawPart
    workflow_id: str
    version: str | None
    repetition: str


class PartsWriter:
    """Writes runs into a part per batch; a context manager. Give it the runs in the order of their batches.

    :param folder: the run's folder.
    :param pipeline: the DAG and task group.
    :param name: of the parts; the same name replaces the parts of an earlier attempt.
    """

    def __init__(self, workspace: str, folder: ObjectStoragePath, *, pipeline: str, name: str) -> None:
        self._workspace = workspace
        self._folder = folder
        self._pipeline = pipeline
        self._name = name
        self._at: ObjectStoragePath | None = None
        self._writer: PartWriter
        self._open_part = contextlib.ExitStack()
        self._whole = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._manifest = self._whole.enter_context(written_whole(_parts_path(self._folder, self._name)))
        self._whole.enter_context(self._open_part)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._whole.__exit__(exc_type, exc, traceback)

    def add(self, run: LandedRun, line: bytes) -> None:
        """Append a run; ``line`` is its line in the raw zone."""
        path = part_path(
            self._workspace,
            pipeline=self._pipeline,
            workflow_id=run.workflow_id,
            version=run.version,
            batch=run.batch_id or "no-batch",
            name=self._name,
        )
        if path != self._at:
            self._open_part.close()
            self._writer = self._open_part.enter_context(_noted_part(self._manifest, path, run))
            self._at = path
        self._writer.add_document(run.document)
        self._writer.add_run(line)


@contextlib.contextmanager
def _noted_part(manifest: BinaryIO, path: ObjectStoragePath, run: LandedRun) -> Iterator[PartWriter]:
    with PartWriter(path, run.batch_id) as writer:
        yield writer
    part = RunsPart(
        part=writer.part, workflow_id=run.workflow_id, version=run.version, repetition=run.repetition
    )
    manifest.write(encode(part) + b"\n")


class LandedParts(NamedTuple):
    """Counts of landed parts.

    :ivar by_status: their documents, by current status.
    :ivar rows: rows written, by table.
    """

    by_status: Counter[str]
    rows: Counter[str]


def land_parts(
    warehouse: Warehouse, folder: ObjectStoragePath, name: str, settings: Settings | ReviewSettings
) -> LandedParts:
    """Land the parts with this name."""
    landed = LandedParts(Counter(), Counter())
    for entry in _entries(folder, name, settings):
        landing = raw_index.land(warehouse, entry, is_new=True)
        landed.by_status.update(landing.by_status)
        landed.rows.update(landing.rows)
    return landed


def note_deleted_parts(
    warehouse: Warehouse,
    folder: ObjectStoragePath,
    name: str,
    settings: Settings | ReviewSettings,
    message: str,
) -> None:
    """Mark the rows of the documents in the parts with this name: their runs were deleted at Extend."""
    for entry in _entries(folder, name, settings):
        raw_index.note_deleted(warehouse, raw_index.enter(msgspec.structs.replace(entry, deleted=message)))


def _entries(folder: ObjectStoragePath, name: str, settings: Settings | ReviewSettings) -> Iterator[Entry]:
    path = _parts_path(folder, name)
    with opened(path, "rb") as lines:
        for line in lines:
            part = decode(RunsPart, line, str(path))
            origin = task_provenance(
                workflow_id=part.workflow_id,
                version=part.version,
                batch_id=part.part.batch_id,
                repetition=part.repetition,
                extend_conn_id=settings.extend_conn_id,
                counted=False,
            )
            yield Entry(
                part=part.part,
                dataset=settings.dataset,
                warehouse_conn_id=settings.warehouse_conn_id,
                provenance=origin,
            )


def _parts_path(folder: ObjectStoragePath, name: str) -> ObjectStoragePath:
    return folder / f"{name}.jsonl"


def write_runs(path: ObjectStoragePath, runs: Iterator[LandedRun]) -> int:
    """Write runs as JSON lines and return how many there were."""
    return write_lines(path, map(msgspec.json.encode, runs))


def read_runs(path: ObjectStoragePath) -> Iterator[LandedRun]:
    """Yield the runs of a file."""
    with opened(path, "rb") as lines:
        for line in lines:
            yield msgspec.json.decode(line, type=LandedRun)
