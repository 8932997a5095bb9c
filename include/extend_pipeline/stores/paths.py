"""Any other store that Airflow's object storage reaches: ``gs://``, ``abfs://``, ``file://`` and their like.

Google's are listed by the page, the others folder by folder: memory is bounded by the largest of these. Which
tag an object has depends on what its store tells, see :func:`content_tag`.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os.path
import shutil
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Self

from extend_pipeline.documents import OBJECT_FORBIDDEN
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.stores.contents import UnreadableError, spooled
from extend_pipeline.stores.filesystems import can_sign, open_filesystem, pages_of, plain_errors
from extend_pipeline.stores.records import (
    WHOLE,
    Absent,
    Forbidden,
    Found,
    KeyRange,
    Located,
    ObjectChangedError,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


_PIECE_BYTES: Final = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class PathStore:
    """See :class:`~extend_pipeline.stores.records.Store`; the objects under one root.

    :param root: ``gs://bucket`` or ``file://``.
    :param conn_id: the connection that opens it; None for what its library finds by itself.
    """

    root: str
    conn_id: str | None
    fs: AbstractFileSystem

    @classmethod
    def connect(cls, root: str, conn_id: str | None) -> Self:
        """Open the store.

        :raises PipelineInputError: if nothing that is installed reads such addresses.
        """
        return cls(root, conn_id, open_filesystem(root, conn_id))

    def pages(self, prefix: Located, keys: KeyRange = WHOLE) -> Iterator[list[Found]]:
        """Yield what the store gives at a time: a page, or a folder, these in the order of their names."""
        pages = pages_of(self.fs, self._path("").rstrip("/"), prefix.key)
        return self._folders(prefix) if pages is None else self._pages(prefix, pages)

    def _pages(self, prefix: Located, pages: Iterator[list[Mapping[str, Any]]]) -> Iterator[list[Found]]:
        try:
            with plain_errors():
                for page in filter(None, pages):
                    yield [self._found(info["name"], info) for info in page]
        except FileNotFoundError:
            raise self._unlisted(prefix, "does not exist") from None
        except PermissionError:
            raise self._unlisted(prefix, "may not be listed") from None

    def _folders(self, prefix: Located) -> Iterator[list[Found]]:
        folders = [prefix.key.rpartition("/")[0]]
        first = True
        while folders:
            folder = folders.pop()
            entries = self._entries(folder, prefix, first=first)
            first = False
            page, below = list[Found](), list[str]()
            for key, listed in entries:
                if (info := self._target(listed)) is None:
                    continue
                if info["type"] != "directory":
                    if key.startswith(prefix.key):
                        page.append(self._found(key, info))
                # A link to a folder may lead back to where it is.
                elif not listed.get("islink") and f"{key}/".startswith(prefix.key[: len(key) + 1]):
                    below.append(key)
            folders += reversed(below)
            if page:
                yield page

    def can_split(self, prefix: Located) -> bool:
        """Not in the middle of a folder."""
        return False

    def split(self, prefix: Located, after: str) -> list[KeyRange]:
        """Return nothing, as the listing cannot be divided."""
        return []

    def look_up(self, place: Located) -> Found | Absent | Forbidden:
        """Ask for what the store knows of the object."""
        try:
            with plain_errors():
                info = self.fs.info(self._path(place.key), refresh=True)
        except FileNotFoundError:
            return Absent()
        except PermissionError:
            return Forbidden()
        target = self._target(info)
        if target is None or target["type"] == "directory":
            return Absent()
        return self._found(place.key, target)

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> str | None:
        """Return a signed URL where the store has such, and the connection a key to sign with."""
        if not can_sign(self.fs):
            return None
        try:
            return str(self.fs.sign(self._path(place.key), expiration=expires_in))
        except NotImplementedError:
            return None

    def check_signing(self, expires_in: int) -> None:
        """Nothing that could be seen beforehand."""

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Copy the object to the disk, and see afterwards that it is still the one with this tag."""

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

    @property
    def _is_local(self) -> bool:
        return self.root == "file://"

    def _path(self, key: str) -> str:
        return f"{self.root.partition('://')[2]}/{key}"

    def _entries(self, folder: str, prefix: Located, *, first: bool) -> list[tuple[str, Mapping[str, Any]]]:
        """Return what a folder holds, by key; a folder of a bucket that is not there holds nothing."""
        base = self._path(folder)
        try:
            with plain_errors():
                listed = self.fs.ls(base, detail=True, refresh=True)
            self.fs.invalidate_cache()  # it would keep every folder of a long listing
        except FileNotFoundError:
            if not first or self._bucket_exists():
                return []
            what = "does not exist"
        except PermissionError:
            what = "may not be listed"
        else:
            root = self._path("")
            keyed = ((f"/{info['name'].lstrip('/')}", info) for info in listed)
            prefixed = f"/{root.lstrip('/')}"
            named = ((name.removeprefix(prefixed).rstrip("/"), info) for name, info in keyed)
            # Some stores list a folder's own marker with what it holds.
            return sorted(((key, info) for key, info in named if key != folder), key=lambda each: each[0])
        raise self._unlisted(prefix, what)

    def _unlisted(self, prefix: Located, what: str) -> PipelineInputError:
        place = "folder" if self._is_local else "bucket"
        return PipelineInputError(
            f"The {place} of {prefix.uri!r} {what}, seen from this worker. Nothing was sent to Extend. "
            f"Check the address and the connection (source_conn_id={self.conn_id!r})."
        )

    def _bucket_exists(self) -> bool:
        if self._is_local:
            return False
        try:
            with plain_errors():
                self.fs.info(self._path("").rstrip("/"))
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # who may list objects may not always look at the bucket itself
        return True

    def _target(self, info: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what a link leads to, as that is what is read; None if it leads nowhere."""
        if not info.get("islink"):
            return info
        try:
            target: Mapping[str, Any] = self.fs.info(os.path.realpath(info["name"]))
        except FileNotFoundError:
            return None
        return target

    def _found(self, key: str, info: Mapping[str, Any]) -> Found:
        modified = modified_at(info)
        tag = content_tag(info, modified)
        if tag is None:
            raise PipelineInputError(
                f"{self.root} tells neither a tag of an object's content nor when it was modified, so a "
                "document that was paid for could not be told from a new one. Nothing was sent to Extend. "
                "Copy the objects to a store that does."
            )
        return Found(key, tag, int(info["size"] or 0), modified or dt.datetime.fromtimestamp(0, dt.UTC))


def content_tag(info: Mapping[str, Any], modified: dt.datetime | None) -> str | None:
    """Return what changes with an object's content: the first of these that its store tells of.

    A hash of the content (Google Cloud Storage, Azure), so that the same content uploaded anew is the same
    document; the store's number of the content; its tag; the time of modification with the size, for files.
    """
    settings = info.get("content_settings") or {}
    md5 = info.get("md5Hash") or info.get("content_md5") or settings.get("content_md5")
    if md5:
        return md5 if isinstance(md5, str) else bytes(md5).hex()
    # Google's ETag changes with an object's metadata, too.
    for name in ("generation", "ETag", "etag"):
        if info.get(name):
            return str(info[name]).strip('"')
    return None if modified is None else f"{modified:%Y%m%dT%H%M%S.%f}-{info['size'] or 0}"


def modified_at(info: Mapping[str, Any]) -> dt.datetime | None:
    """Return when an object was modified, in UTC; None if its store does not tell."""
    for name in ("mtime", "LastModified", "last_modified", "updated"):
        value = info.get(name)
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, dt.UTC)
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
        if isinstance(value, dt.datetime):
            return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
    return None
