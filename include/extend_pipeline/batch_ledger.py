"""The ledger of batches: what is about to be sent, and as which batch it was.

Invariants: the intent is written before the request, the batch id right after the answer. A key depends on
what is sent and to which workflow version alone, so any later attempt or run that is about to send the same
chunk finds the batch of the first one. A record that exists but cannot be read is an error, never a licence
to send again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Iterable

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import Document
from extend_pipeline.workspace import read_json, write_json


def batch_key(
    documents: Iterable[Document], *, workflow_id: str, version: str | None, repetition: str | None = None
) -> str:
    """Return the key under which a chunk's batch is recorded: 32 lower-case hexadecimal digits.

    :param repetition: what tells an explicit reprocessing from the first time; None for the first time.
    """
    digest = hashlib.sha256(f"{workflow_id}\0{version or ''}\0{repetition or ''}".encode())
    for identity in sorted(document.id for document in documents):
        digest.update(identity.encode())
    return digest.hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True)
class BatchRecord:
    """What is known of one batch.

    :param intended_at: RFC 3339, when the request was about to be made.
    :param run_count: how many inputs it has.
    :param batch_id: Extend's id; None as long as no answer has been recorded.
    """

    key: str
    intended_at: str
    run_count: int
    batch_id: str | None = None

    @property
    def intended_moment(self) -> dt.datetime:
        """When the request was about to be made."""
        return dt.datetime.fromisoformat(self.intended_at)


def read_record(path: ObjectStoragePath) -> BatchRecord | None:
    """Return the record, or None if nothing was ever about to be sent under this key."""
    value = read_json(path)
    return None if value is None else BatchRecord(**value)


def write_record(path: ObjectStoragePath, record: BatchRecord) -> None:
    """Write the record; it replaces an earlier one as a whole."""
    write_json(path, dataclasses.asdict(record))
