"""Uploads: which documents of a round have a file at Extend already, so that none is uploaded twice.

    <folder of the round>/uploads.json

A batch may be refused after its files were uploaded, or a task may fail between two uploads. The next attempt
uses the recorded file ids for a limited time: Extend deletes files by the workspace's data retention, which
the API does not report.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from typing import Final, Self

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.storage.formats import Stored, read, write
from extend_provider.client.settings import ExtendSettings

#: How long an uploaded file is assumed to exist.
LIFETIME: Final = dt.timedelta(hours=1)


class UploadedFile(msgspec.Struct, frozen=True):
    """A file at Extend.

    :ivar at: when it was uploaded, timezone-aware.
    """

    file_id: str
    at: dt.datetime


class UploadedFiles(Stored, frozen=True, kw_only=True):
    """Content of ``uploads.json``.

    :ivar owner: identifies the workspace at Extend that has the files, see :func:`_owner`.
    :ivar files: by the ids of their documents.
    """

    owner: str
    files: dict[str, UploadedFile] = msgspec.field(default_factory=dict)


class Uploads:
    """The uploads of a round; a context manager that records what was added, also after an error.

    Two attempts at the same time may upload the same files: both ids are valid, and one of them is kept.

    :param folder: of the round.
    :param settings: of the connection, whose workspace has the files.
    """

    def __init__(self, folder: ObjectStoragePath, settings: ExtendSettings) -> None:
        self._path = folder / "uploads.json"
        self._owner = _owner(settings)
        self._files: dict[str, UploadedFile] = {}
        self._has_more = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        before = read(self._path, UploadedFiles)
        if before is not None and before.owner == self._owner:
            oldest = dt.datetime.now(dt.UTC) - LIFETIME
            self._files = {key: file for key, file in before.files.items() if file.at > oldest}
        return self

    def __exit__(self, *exc: object) -> None:
        if self._has_more:
            write(self._path, UploadedFiles(owner=self._owner, files=self._files))

    def known(self, document_id: str) -> str | None:
        """Return the id of a document's file; None if it is not uploaded."""
        file = self._files.get(document_id)
        return None if file is None else file.file_id

    def add(self, document_id: str, file_id: str) -> None:
        """Add a document's file; thread-safe."""
        with self._lock:
            self._files[document_id] = UploadedFile(file_id, dt.datetime.now(dt.UTC))
            self._has_more = True


def _owner(settings: ExtendSettings) -> str:
    """Return an id of the workspace at Extend; the key cannot be derived from it."""
    parts = (settings.base_url, settings.api_key, settings.workspace_id or "")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
