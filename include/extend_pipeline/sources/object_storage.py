"""Any other store that Airflow's object storage reaches: ``gs://``, ``abfs://`` and so on.

Google's is listed by the page, the others by the folder: memory is bounded by the largest folder. The tag of
an object depends on what its store tells, see :func:`content_tag`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Self

from extend_pipeline.documents import OBJECT_FORBIDDEN, OBJECT_UNREADABLE
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources.contents import UnreadableError, spooled
from extend_pipeline.sources.filesystems import can_sign, open_filesystem, pages_of, plain_errors, status_of
from extend_pipeline.sources.objects import (
    Absent,
    Forbidden,
    Found,
    Located,
    ObjectChangedError,
    Seen,
    Unusable,
    dated_tag,
    plausible_size,
    plausible_time,
    unlisted_folder,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: HTTP statuses that are about one object, not about the state of the store.
_REFUSED: Final = frozenset(range(400, 500)) - {408, 425, 429}
_PIECE_BYTES: Final = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class PathStore:
    """The objects under one root; see :class:`~extend_pipeline.sources.objects.Store`.

    :param root: such as ``gs://bucket``.
    :param conn_id: the connection that opens it; None for what its library finds by itself.
    """

    root: str
    conn_id: str | None
    fs: AbstractFileSystem

    @classmethod
    def connect(cls, root: str, conn_id: str | None) -> Self:
        """Open the store.

        :raises PipelineInputError: if no installed package reads such addresses.
        """
        return cls(root, conn_id, open_filesystem(root, conn_id))

    def pages(self, prefix: Located) -> Iterator[Sequence[Found | Unusable]]:
        """Yield a page, or a folder, at a time; folders are in the order of their names."""
        pages = pages_of(self.fs, self._path("").rstrip("/"), prefix.key)
        return self._folders(prefix) if pages is None else self._pages(prefix, pages)

    def _pages(
        self, prefix: Located, pages: Iterator[list[Mapping[str, Any]]]
    ) -> Iterator[list[Found | Unusable]]:
        try:
            with plain_errors():
                for page in filter(None, pages):
                    yield [_found(info["name"], info) for info in page]
        except FileNotFoundError:
            raise self._unlisted(prefix, "does not exist") from None
        except PermissionError:
            raise self._unlisted(prefix, "may not be listed") from None

    def _folders(self, prefix: Located) -> Iterator[Sequence[Found | Unusable]]:
        top = prefix.key.rpartition("/")[0]
        folders = [top]
        while folders:
            folder = folders.pop()
            try:
                entries = self._entries(folder)
            except FileNotFoundError:
                if folder == top and not self._bucket_exists():
                    raise self._unlisted(prefix, "does not exist") from None
                continue
            except PermissionError:
                if folder == top or not self._may_list(top):
                    raise self._unlisted(prefix, "may not be listed") from None
                yield [unlisted_folder(folder)]
                continue
            below = [key for key, info in entries if info["type"] == "directory"]
            folders += reversed([key for key in below if f"{key}/".startswith(prefix.key[: len(key) + 1])])
            files = ((key, info) for key, info in entries if info["type"] != "directory")
            if page := [_found(key, info) for key, info in files if key.startswith(prefix.key)]:
                yield page

    def look_up(self, place: Located) -> Seen:
        """Request the metadata of the object."""
        try:
            with plain_errors():
                info = self.fs.info(self._path(place.key), refresh=True)
        except FileNotFoundError:
            return Absent()
        except PermissionError:
            return Forbidden()
        except Exception as error:
            status = status_of(error)
            if status not in _REFUSED:
                raise
            message = f"The store answers HTTP {status} to a request for this object."
            return Unusable(place.key, OBJECT_UNREADABLE, message)
        return Absent() if info["type"] == "directory" else _found(place.key, info)

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> str | None:
        """Return a signed URL if the store supports it and the connection has a key to sign with."""
        if not can_sign(self.fs):
            return None
        try:
            return str(self.fs.sign(self._path(place.key), expiration=expires_in))
        except NotImplementedError:
            return None

    def check_signing(self, expires_in: int) -> None:
        """Nothing can be checked in advance."""

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Copy the object to the disk, and check afterwards that it still has this tag."""

        def copy(file: IO[bytes]) -> None:
            with plain_errors(), self.fs.open(self._path(place.key), "rb") as source:
                shutil.copyfileobj(source, file, _PIECE_BYTES)

        changed = ObjectChangedError(f"{place.uri} was replaced or deleted while it was read.")
        try:
            content = spooled(place.uri, copy)
        except FileNotFoundError:
            raise changed from None
        except PermissionError:
            message = "The object may not be read, although it is listed."
            raise UnreadableError(OBJECT_FORBIDDEN, message) from None
        now = self.look_up(place)
        if not isinstance(now, Found) or now.tag != found_tag:
            content.close()
            raise changed
        return content

    def _path(self, key: str) -> str:
        return f"{self.root.partition('://')[2]}/{key}"

    def _entries(self, folder: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the entries of a folder, by key.

        :raises FileNotFoundError: if there is nothing.
        :raises PermissionError: if it may not be listed.
        """
        with plain_errors():
            listed = self.fs.ls(self._path(folder), detail=True, refresh=True)
        self.fs.invalidate_cache()  # otherwise it keeps every folder of a long listing
        root = f"/{self._path('').lstrip('/')}"
        keyed = ((f"/{info['name'].lstrip('/')}", info) for info in listed)
        named = {name.removeprefix(root).rstrip("/"): info for name, info in keyed}
        # Some stores list the folder's own marker among its entries.
        return sorted(((key, info) for key, info in named.items() if key != folder), key=lambda each: each[0])

    def _may_list(self, folder: str) -> bool:
        """Return True if the credentials still allow listing the folder."""
        try:
            self._entries(folder)
        except PermissionError:
            return False
        return True

    def _unlisted(self, prefix: Located, what: str) -> PipelineInputError:
        return PipelineInputError(
            f"The bucket of {prefix.uri!r} {what}, seen from this worker. Nothing was sent to Extend. "
            f"Check the address and the connection (conn_id={self.conn_id!r})."
        )

    def _bucket_exists(self) -> bool:
        try:
            with plain_errors():
                self.fs.info(self._path("").rstrip("/"))
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # the right to list objects does not imply the right to read the bucket's metadata
        return True


def _found(key: str, info: Mapping[str, Any]) -> Found:
    modified = modified_at(info)
    return Found(key, content_tag(info, modified) or "", plausible_size(info.get("size")), modified)


def content_tag(info: Mapping[str, Any], modified: dt.datetime | None) -> str | None:
    """Return a text that changes with the content: the first of these that the store has.

    - A hash of the content (Google Cloud Storage, Azure), so that the same content uploaded again is the same
      document.
    - The store's number of the content.
    - The ETag.
    - The time of modification with the size.
    """
    settings = info.get("content_settings") or {}
    md5 = info.get("md5Hash") or info.get("content_md5") or settings.get("content_md5")
    if md5:
        return md5 if isinstance(md5, str) else bytes(md5).hex()
    # Google's ETag also changes with the metadata, so the generation comes first.
    for name in ("generation", "ETag", "etag"):
        if info.get(name):
            return str(info[name]).strip('"')
    return None if modified is None else dated_tag(modified, info.get("size"))


def modified_at(info: Mapping[str, Any]) -> dt.datetime | None:
    """Return when an object was modified, in UTC; None if its store gives no possible time."""
    times = (plausible_time(info.get(name)) for name in ("mtime", "LastModified", "last_modified", "updated"))
    return next((time for time in times if time is not None), None)
