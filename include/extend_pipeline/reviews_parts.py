"""Parts of the raw zone made of single runs, out of any batches: what a review or an approval brings.

<raw folder of the batch>/<name>.jsonl.gz   the runs
<run folder>/parts.jsonl                    the parts, in the order of their batches
<run folder>/part-00000.jsonl               the documents of a part
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import IO, BinaryIO, Self

from airflow.sdk import ObjectStoragePath, get_current_context

from extend_pipeline.warehouse.records import LandedRun, Provenance, Warehouse
from extend_pipeline.workspace import (
    compressed_writer,
    opened,
    raw_folder,
    read_compressed_lines,
    read_documents,
    written_whole,
)


@dataclasses.dataclass(frozen=True, slots=True)
class RunsPart:
    """One part, and what it takes to land it."""

    raw_uri: str
    submission: str
    workflow_id: str
    version: str | None
    batch_id: str | None
    repetition: str

    def provenance(self, extend_conn_id: str) -> Provenance:
        """Say where the part comes from, and that the running task lands it."""
        ti = get_current_context()["ti"]
        return Provenance(
            workflow_id=self.workflow_id,
            version=self.version,
            batch_id=self.batch_id,
            raw_uri=self.raw_uri,
            repetition=self.repetition,
            extend_conn_id=extend_conn_id,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
        )


class PartsWriter:
    """Writes runs into a part per batch; a context manager. Give it the runs in the order of their batches.

    :param folder: the run's folder.
    :param name: of the files in the raw zone; the same name replaces what an earlier try has written.
    """

    def __init__(self, workspace: str, folder: ObjectStoragePath, name: str) -> None:
        self._workspace = workspace
        self._folder = folder
        self._name = name
        self._count = 0
        self._part: RunsPart | None = None
        self._raw: IO[bytes]
        self._documents: BinaryIO
        self._open_files = contextlib.ExitStack()
        self._whole = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._manifest = self._whole.enter_context(written_whole(parts_path(self._folder)))
        self._whole.enter_context(self._open_files)
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
        part = self._part_of(run)
        if self._part is None or part.raw_uri != self._part.raw_uri:
            self._begin(part)
        self._raw.write(line)
        self._documents.write(run.document.to_json().encode() + b"\n")

    def _begin(self, part: RunsPart) -> None:
        self._open_files.close()
        part = dataclasses.replace(part, submission=str(self._folder / f"part-{self._count:05d}.jsonl"))
        self._count += 1
        self._raw = self._open_files.enter_context(compressed_writer(ObjectStoragePath(part.raw_uri)))
        self._documents = self._open_files.enter_context(written_whole(ObjectStoragePath(part.submission)))
        self._manifest.write(json.dumps(dataclasses.asdict(part)).encode() + b"\n")
        self._part = part

    def _part_of(self, run: LandedRun) -> RunsPart:
        folder = raw_folder(
            self._workspace,
            workflow_id=run.workflow_id,
            version=run.version,
            batch_id=run.batch_id or "no-batch",
        )
        raw_uri = str(folder / f"{self._name}.jsonl.gz")
        return RunsPart(raw_uri, "", run.workflow_id, run.version, run.batch_id, run.repetition)


def parts_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    """Return the file that lists the parts of a run."""
    return folder / "parts.jsonl"


def read_parts(folder: ObjectStoragePath) -> Iterator[RunsPart]:
    """Read back the parts of a run."""
    with opened(parts_path(folder), "rb") as lines:
        for line in lines:
            yield RunsPart(**json.loads(line))


def land_parts(warehouse: Warehouse, folder: ObjectStoragePath, extend_conn_id: str) -> Counter[str]:
    """Land the parts of a run; return how many documents have which status now."""
    by_status = Counter[str]()
    for part in read_parts(folder):
        landing = warehouse.land(
            read_documents(ObjectStoragePath(part.submission)),
            read_compressed_lines(ObjectStoragePath(part.raw_uri)),
            provenance=part.provenance(extend_conn_id),
        )
        by_status.update(landing.by_status)
    return by_status


def write_runs(path: ObjectStoragePath, runs: Iterator[LandedRun]) -> int:
    """Write runs as JSON lines and return how many there were."""
    count = 0
    with written_whole(path) as file:
        for count, run in enumerate(runs, start=1):  # noqa: B007 - the last number is the count
            file.write(run.to_json().encode() + b"\n")
    return count


def read_runs(path: ObjectStoragePath) -> Iterator[LandedRun]:
    """Read runs back, one at a time."""
    with opened(path, "rb") as lines:
        for line in lines:
            yield LandedRun.from_json(line)
