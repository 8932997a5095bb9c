"""The ledger of batches in the workspace: what is about to be sent, and as which batch it was.

    <folder>/00001.intent.json      a submission about to be made; written once, by whoever came first
    <folder>/00001.withdrawn.json   its request created nothing
    <folder>/batch.json             the batch that it has become

The folder's name is the chunk's key, which depends on what is sent and to which workflow version alone: any
later attempt, task or run that is about to send the same chunk finds what the first one has done.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.workspace import read_json, write_json, write_json_once
from extend_provider.submission import Intent, LedgerState


def batch_key(
    documents: Iterable[Document], *, workflow_id: str, version: str | None, repetition: str = ""
) -> str:
    """Return the key under which a chunk's batch is recorded: 32 lower-case hexadecimal digits.

    :param repetition: what tells an explicit reprocessing from the first time; empty for the first time.
    """
    digest = hashlib.sha256(f"{workflow_id}\0{version or ''}\0{repetition}".encode())
    for identity in sorted(document.id for document in documents):
        digest.update(identity.encode())
    return digest.hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True)
class WorkspaceLedger:
    """See :class:`extend_provider.submission.Ledger`."""

    folder: ObjectStoragePath

    def read(self) -> LedgerState:
        """Return the latest intent and what became of it."""
        intent = self._latest_intent()
        if intent is None:
            return LedgerState()
        batch = read_json(self.folder / "batch.json")
        if batch is not None:
            return LedgerState(Intent(**batch["intent"]), batch["batch_id"])
        return LedgerState(intent, withdrawn=read_json(self._path(intent.number, "withdrawn")) is not None)

    def begin(self, intent: Intent) -> bool:
        """Write the intent, unless somebody else has just written the one of this number."""
        return write_json_once(self._path(intent.number, "intent"), dataclasses.asdict(intent))

    def withdraw(self, intent: Intent) -> None:
        """Write down that the intent's request created nothing."""
        write_json(self._path(intent.number, "withdrawn"), {"begun_at": intent.begun_at})

    def record(self, intent: Intent, batch_id: str) -> None:
        """Write down the batch."""
        write_json(self.folder / "batch.json", {"batch_id": batch_id, "intent": dataclasses.asdict(intent)})

    def _latest_intent(self) -> Intent | None:
        latest: Intent | None = None
        while (value := read_json(self._path((latest.number if latest else 0) + 1, "intent"))) is not None:
            latest = Intent(**value)
        return latest

    def _path(self, number: int, kind: str) -> ObjectStoragePath:
        return self.folder / f"{number:05d}.{kind}.json"
