"""Kept parts: whether a part that was collected before is whole, and which of its runs are richer than now.

Extend deletes runs after some time, and the raw zone keeps them. So a run is replaced by the same run as
Extend returns it now only if that has at least as much in it, and a run that Extend has deleted stays.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import logging
import zlib
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple, Self

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.storage.raw_zone import RawPart
from extend_pipeline.storage.workspace import read_json
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.transform.raw_lines import read_raw_line
from extend_provider.batch.disk import on_disk
from extend_provider.batch.waiting.progress import SETTLED_STATUSES
from extend_provider.client.models import RunStatus, WorkflowRun

log = logging.getLogger(__name__)

#: Errors of reading a file that was cut short or changed; errors of the store itself are not among them.
DAMAGE: Final = (EOFError, gzip.BadGzipFile, zlib.error, ValueError, msgspec.MsgspecError)


class Richness(NamedTuple):
    """How much a run has in it; a run that compares greater or equal may replace it.

    :ivar state: 0 while Extend works on it, 1 while it is in review, 2 when it is final.
    :ivar results: steps with a result.
    """

    state: int
    results: int
    updated_at: str

    @classmethod
    def of(cls, run: WorkflowRun) -> Self:
        """Measure a run."""
        state = 1 if run.status == RunStatus.NEEDS_REVIEW else 2 if run.status in SETTLED_STATUSES else 0
        results = [step.result for step in run.steps if step.result is not None]
        filled = sum(bool(each.value or each.classification or each.splits) for each in results)
        return cls(state, filled, run.updated_at or "")


class KeptRun(NamedTuple):
    """A run of a kept part.

    :ivar digest: of its line.
    """

    richness: Richness
    digest: bytes

    def is_richer_than(self, run: WorkflowRun) -> bool:
        """Return True if the same run, as Extend returns it now, has fewer results or an earlier state."""
        return Richness.of(run) < self.richness


def digest(line: bytes) -> bytes:
    """Return the digest of a line of the raw zone."""
    return hashlib.sha256(line).digest()


@dataclasses.dataclass(frozen=True, slots=True)
class KeptPart:
    """A part that is whole.

    :ivar runs: by id.
    :ivar documents: their ids.
    """

    part: RawPart
    runs: dict[str, KeptRun]
    documents: frozenset[str]

    def read_others(self, replaced: Collection[str]) -> Iterator[bytes]:
        """Yield the lines of the runs without those that have these ids."""
        for run_id, line in zip(self.runs, self.part.read_lines(), strict=True):
            if run_id not in replaced:
                yield line


def find_part(path: ObjectStoragePath, batch_id: str | None) -> KeptPart | None:
    """Return the part of a batch that was written before; None if there is none or it is damaged."""
    if not path.exists():
        return None
    try:
        return _checked(path, batch_id)
    except FileNotFoundError:
        why = "the list of its documents does not exist"
    except (*DAMAGE, WarehouseError) as error:
        why = f"{type(error).__name__}: {error}" if isinstance(error, _DamagedError) else type(error).__name__
    log.warning("%s is damaged (%s), so it counts as absent and is collected again.", path, why)
    return None


class _DamagedError(ValueError):
    """The files of a part contradict each other."""


def _checked(path: ObjectStoragePath, batch_id: str | None) -> KeptPart:
    part = RawPart(str(path), batch_id, documents=0, runs=0, size_bytes=on_disk(path).stat().st_size)
    documents = frozenset(document.id for document in _documents(part))
    runs: dict[str, KeptRun] = {}
    for number, line in enumerate(part.read_lines(), start=1):
        run = read_raw_line(line, f"line {number}").run
        document_id = run.metadata.get("document_id")
        if document_id is not None and document_id not in documents:
            raise _DamagedError(f"run {run.id} is of a document that is not among its documents")
        runs[run.id] = KeptRun(Richness.of(run), digest(line))
        if len(runs) < number:
            raise _DamagedError(f"run {run.id} is there twice")
    entered = _entered(path)
    for name, found in (("documents", len(documents)), ("runs", len(runs))):
        # It may have more than its entry: it was collected again and has not landed yet.
        if found < entered.get(name, 0):
            raise _DamagedError(f"it has {found:,} {name}, and {entered[name]:,} have landed from it")
    part = dataclasses.replace(part, documents=len(documents), runs=len(runs))
    return KeptPart(part, runs, documents)


def _documents(part: RawPart) -> Iterator[Document]:
    try:
        yield from part.read_documents()
    except msgspec.MsgspecError as error:
        raise _DamagedError("a document cannot be read") from error


def _entered(path: ObjectStoragePath) -> dict[str, Any]:
    """Return the counts in the part's index entry; empty if there is no readable entry."""
    try:
        entry = read_json(ObjectStoragePath(str(path).removesuffix(".jsonl.gz") + ".json")) or {}
    except ValueError:
        return {}
    return dict(entry.get("part", {}))
