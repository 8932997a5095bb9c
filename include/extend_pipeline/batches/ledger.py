"""The ledger of a chunk in the workspace: its submissions, and the batch that came of them.

    <folder>/00001.intent.json      a submission that is about to be made, or a void; the first writer wins
    <folder>/00001.withdrawn.json   its request created nothing
    <folder>/batch.json             the batch that it created

The folder's name is the chunk's key, which depends only on what is sent and to which workflow version: any
later attempt, task or run that is about to send the same chunk finds what an earlier one has done.

Invariant: a submission begins, and a chunk is voided, by the same atomic write of the next number. Of a task
that is about to send a chunk and a plan that takes its documents over, exactly one wins.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.exceptions import ChunkVoidedError
from extend_pipeline.storage.formats import Stored, read, write, write_once
from extend_pipeline.storage.workspace import read_documents, read_json, write_json
from extend_provider.batch.ledger import Intent, LedgerState

#: Takes the place of a plan if a person has released the chunk.
RELEASED: Final = "-"

# Keys of an intent's details.
#: The file that lists the documents of the batch as they stood when it was sent.
DOCUMENTS_KEY: Final = "submission"
#: The pipeline that has sent it; the raw zone keeps the runs under this name, whichever run collects them.
PIPELINE_KEY: Final = "pipeline"
#: When its presigned URLs expire; absent if it has none.
URLS_END_KEY: Final = "urls_end"


def batch_key(
    documents: Iterable[Document], *, workflow_id: str, version: str | None, repetition: str = ""
) -> str:
    """Return the key under which a chunk's batch is recorded: 32 lower-case hexadecimal digits.

    :param repetition: identifies an explicit reprocessing; empty for the first time.
    """
    digest = hashlib.sha256(f"{workflow_id}\0{version or ''}\0{repetition}".encode())
    for identity in sorted(document.id for document in documents):
        digest.update(identity.encode())
    return digest.hexdigest()[:32]


def documents_of(details: Mapping[str, Any]) -> Iterator[Document]:
    """Yield the documents of a batch as they stood when it was sent, given the details of its intent."""
    return read_documents(ObjectStoragePath(details[DOCUMENTS_KEY]))


@dataclasses.dataclass(frozen=True, slots=True)
class Void:
    """A chunk must not be sent by the plan that made it: another plan has its documents, or they are free.

    :param number: of the record.
    :param plan: the plan that owns the chunk from now on, or :data:`RELEASED`.
    :param by: the run of that plan, or who has released it, for a person.
    :param voided_at: RFC 3339 with offset.
    """

    number: int
    plan: str
    by: str
    voided_at: str


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How far a chunk has come.

    :param number: of the latest record; 0 if there is none.
    :param begun: a task has begun to send it, and nothing proves that it did not arrive.
    :param void: the latest record, if it is a void.
    """

    number: int = 0
    begun: bool = False
    void: Void | None = None


class Record(Stored, frozen=True):
    """One record of a ledger: an intent with its fields, or a void."""

    number: int = 0
    begun_at: str = ""
    window: float = 0.0
    run_count: int = 0
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    void: Void | None = None

    @classmethod
    def of(cls, intent: Intent) -> Record:
        """Return the record of an intent."""
        return cls(**dataclasses.asdict(intent))

    @property
    def intent(self) -> Intent:
        """The intent that was recorded."""
        return Intent(self.number, self.begun_at, self.window, self.run_count, self.details)


class StoredBatch(Stored, frozen=True):
    """The batch of a chunk, and the intent that led to it."""

    batch_id: str
    intent: Record


@dataclasses.dataclass(frozen=True, slots=True)
class WorkspaceLedger:
    """See :class:`extend_provider.batch.ledger.Ledger`.

    :param plan: the plan that the sending task works for.
    """

    folder: ObjectStoragePath
    plan: str = ""

    def read(self) -> LedgerState:
        """Return the latest intent, and its batch if there is one.

        :raises ChunkVoidedError: another plan took the chunk's documents over before they were sent.
        """
        batch = read(self._batch_path, StoredBatch)
        if batch is not None:
            return LedgerState(batch.intent.intent, batch.batch_id)
        latest = self._latest()
        if isinstance(latest, Void):
            if latest.plan != self.plan:
                raise ChunkVoidedError(self.folder.name, latest.by)
            return LedgerState(Intent(latest.number, latest.voided_at, 0.0, 0), withdrawn=True)
        return LedgerState() if latest is None else LedgerState(latest, withdrawn=self._is_withdrawn(latest))

    def standing(self) -> Standing:
        """Return how far the chunk has come; the plan makes no difference."""
        if read(self._batch_path, StoredBatch) is not None:
            return Standing(begun=True)
        latest = self._latest()
        if isinstance(latest, Void):
            return Standing(latest.number, void=latest)
        if latest is None:
            return Standing()
        return Standing(latest.number, begun=not self._is_withdrawn(latest))

    def void(self, standing: Standing, by: Void) -> bool:
        """Void the chunk unless a task has begun to send it since ``standing`` was read."""
        void = dataclasses.replace(by, number=standing.number + 1)
        return write_once(self._path(void.number, "intent"), Record(void=void))

    def begin(self, intent: Intent) -> bool:
        """Write the intent unless another task has already written the record of this number."""
        return write_once(self._path(intent.number, "intent"), Record.of(intent))

    def withdraw(self, intent: Intent) -> None:
        """Record that the intent's request created nothing."""
        write_json(self._path(intent.number, "withdrawn"), {"begun_at": intent.begun_at})

    def record(self, intent: Intent, batch_id: str) -> None:
        """Record the batch."""
        write(self._batch_path, StoredBatch(batch_id=batch_id, intent=Record.of(intent)))

    @property
    def _batch_path(self) -> ObjectStoragePath:
        return self.folder / "batch.json"

    def _latest(self) -> Intent | Void | None:
        latest: Intent | Void | None = None
        while record := read(self._path((latest.number if latest else 0) + 1, "intent"), Record):
            latest = record.void or record.intent
        return latest

    def _is_withdrawn(self, intent: Intent) -> bool:
        return read_json(self._path(intent.number, "withdrawn")) is not None

    def _path(self, number: int, kind: str) -> ObjectStoragePath:
        return self.folder / f"{number:05d}.{kind}.json"
