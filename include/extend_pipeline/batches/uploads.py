"""Which documents of a round are uploaded already: what has a file id is not uploaded again.

    <folder of the round>/uploads.json

A batch may be turned away after its files are there, or a task may fail between two of them. Another attempt
goes on with the ids that it finds, for as long as nobody is likely to have deleted the files: at Extend they
are kept as long as a workspace's data retention says, which nobody tells us.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from types import TracebackType
from typing import Final, Self

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.storage.formats import Stored, read, write
from extend_provider.client.settings import ExtendSettings

#: How long an uploaded file is taken for being there.
LIFETIME: Final = dt.timedelta(hours=1)


class UploadedFile(msgspec.Struct, frozen=True):
    """A file at Extend.

    :ivar at: when it was uploaded, timezone-aware.
    """

    file_id: str
    at: dt.datetime


class UploadedFiles(Stored, frozen=True, kw_only=True):
    """What ``uploads.json`` holds.

    :ivar owner: whose files these are, see :func:`_owner`.
    :ivar files: by the ids of their documents.
    """

    owner: str
    files: dict[str, UploadedFile] = msgspec.field(default_factory=dict)


class Uploads:
    """The uploads of a round; its block writes down what has been added, however it ends.

    Two attempts at once may each upload the same: the ids of one of them are kept, and both are good.

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

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._has_more:
            write(self._path, UploadedFiles(owner=self._owner, files=self._files))

    def known(self, document_id: str) -> str | None:
        """Return the id of a document's file; None if it is to be uploaded."""
        file = self._files.get(document_id)
        return None if file is None else file.file_id

    def add(self, document_id: str, file_id: str) -> None:
        """Remember a document's file; from any thread."""
        with self._lock:
            self._files[document_id] = UploadedFile(file_id, dt.datetime.now(dt.UTC))
            self._has_more = True


def _owner(settings: ExtendSettings) -> str:
    """Return what tells one workspace of Extend's from another; the key itself cannot be read from it."""
    told = "\0".join((settings.base_url, settings.api_key, settings.workspace_id or ""))
    return hashlib.sha256(told.encode()).hexdigest()[:32]
