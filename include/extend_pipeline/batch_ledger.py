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
import logging
from collections.abc import Iterable
from typing import Any

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.workspace import read_json, write_json, write_json_once
from extend_provider.submission import Intent, LedgerState
from extend_provider.task_ledger import SUBMISSION_KEY

log = logging.getLogger(__name__)


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
        batch = read_json(self.folder / "batch.json")
        if batch is not None:
            return LedgerState(Intent(**batch["intent"]), batch["batch_id"])
        if intent is None:
            return LedgerState()
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


@dataclasses.dataclass(frozen=True, slots=True)
class CopiedLedger:
    """A workspace's ledger with a copy in the state of the task that submits.

    The workspace decides, because all who may send the same chunk share it. The copy has a say where the
    workspace knows less of the very same submission, or nothing at all.

    :param store: Airflow's task state store of the task instance.
    :param round_number: a task that sends several rounds keeps a copy of each.
    """

    workspace: WorkspaceLedger
    store: Any
    round_number: int = 1

    def read(self) -> LedgerState:
        """Return what is known; what only the copy knows is written back to the workspace."""
        kept = self.workspace.read()
        lost = lost_state(kept, self._copy())
        if lost is None or lost.intent is None:
            return kept
        log.warning(
            "%s has lost a submission that was begun on %s; it is restored from the task's state.",
            self.workspace.folder,
            lost.intent.begun_at,
        )
        if lost.batch_id is None:
            self.workspace.begin(dataclasses.replace(lost.intent, number=1))
        else:
            self.workspace.record(lost.intent, lost.batch_id)
        return self.workspace.read()

    def begin(self, intent: Intent) -> bool:
        """Write the intent, unless somebody else has just written the one of this number."""
        begun = self.workspace.begin(intent)
        if begun:
            self._write_copy(intent)
        return begun

    def withdraw(self, intent: Intent) -> None:
        """Write down that the intent's request created nothing."""
        self.workspace.withdraw(intent)
        self._write_copy(intent, withdrawn=True)

    def record(self, intent: Intent, batch_id: str) -> None:
        """Write down the batch; the copy first, so that it survives a workspace that refuses."""
        self._write_copy(intent, batch_id=batch_id)
        self.workspace.record(intent, batch_id)

    @property
    def _key(self) -> str:
        return SUBMISSION_KEY if self.round_number == 1 else f"{SUBMISSION_KEY}_{self.round_number}"

    def _copy(self) -> LedgerState:
        copy = self.store.get(self._key)
        if not copy or copy["folder"] != str(self.workspace.folder):
            return LedgerState()
        return LedgerState(Intent(**copy["intent"]), copy.get("batch_id"), copy.get("withdrawn", False))

    def _write_copy(self, intent: Intent, **facts: Any) -> None:
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        copy = {"folder": str(self.workspace.folder), "intent": dataclasses.asdict(intent), **facts}
        self.store.set(self._key, copy, retention=NEVER_EXPIRE)


def lost_state(kept: LedgerState, copy: LedgerState) -> LedgerState | None:
    """Return the copy if the workspace should know what it says and does not, else None."""
    if copy.intent is None or copy.withdrawn or kept.batch_id is not None:
        return None
    if kept.intent is None:
        return copy
    same = kept.intent.begun_at == copy.intent.begun_at
    return copy if same and copy.batch_id is not None else None
