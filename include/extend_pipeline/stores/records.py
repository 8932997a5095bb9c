"""What a store tells of its objects, and what each kind of store must be able to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple, Protocol


class ObjectChangedError(Exception):
    """An object was replaced while it was being read. The task's retry sees what it is then."""


class Located(NamedTuple):
    """An address in its two parts; the key is taken as it stands, whatever characters it holds.

    :param root: ``s3://bucket``, ``gs://bucket``, ``file://``, ``https://host``.
    :param key: what follows the slash after it.
    """

    root: str
    key: str

    @classmethod
    def of(cls, uri: str) -> Located:
        """Take an address apart."""
        scheme, _, rest = uri.partition("://")
        authority, _, key = rest.partition("/")
        return cls(f"{scheme}://{authority}", key)

    @property
    def uri(self) -> str:
        """The address as a person writes it."""
        return f"{self.root}/{self.key}"


class Found(NamedTuple):
    """An object as its store tells of it.

    :param tag: what changes with its content: see each store for what that is.
    :param modified: in UTC.
    :param version: what the store reads just this content by; None where it keeps the current one alone.
    """

    key: str
    tag: str
    size_bytes: int
    modified: dt.datetime
    version: str | None = None


class Absent(NamedTuple):
    """There is no such object."""


class Forbidden(NamedTuple):
    """The credentials do not allow to read the object."""


class KeyRange(NamedTuple):
    """Keys that sort after ``after`` and not after ``until``; None has no end."""

    after: str = ""
    until: str | None = None


#: All keys.
WHOLE: Final = KeyRange()


class Store(Protocol):
    """Objects under one root, or under several that one connection opens."""

    def pages(self, prefix: Located, keys: KeyRange = WHOLE) -> Iterator[list[Found]]:
        """Yield the objects whose keys begin with the prefix's, in the order of their keys where it has one.

        :param keys: only these; stores that :meth:`split` into one range are asked for :data:`WHOLE` alone.
        :raises PipelineInputError: if the place does not exist or may not be listed.
        """
        ...

    def split(self, prefix: Located, after: str) -> list[KeyRange]:
        """Divide the keys that sort after one into ranges to be listed apart; none if there are no such keys.

        Empty as well where the store cannot begin a listing in the middle; :meth:`can_split` tells.
        """
        ...

    def can_split(self, prefix: Located) -> bool:
        """Whether the store lists in the order of keys and can begin anywhere in it."""
        ...

    def look_up(self, place: Located) -> Found | Absent | Forbidden:
        """Return one object as it stands now."""
        ...

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> str | None:
        """Return a URL by which Extend reads the object for so many seconds; None where there is none."""
        ...

    def check_signing(self, expires_in: int) -> None:
        """See that URLs signed now would live that long.

        :raises PipelineInputError: if the credentials end before.
        """
        ...

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Return the object's content, from its start, if it is still the one with this tag.

        It can seek to its start, comes by the piece, and is the caller's to close.

        :raises ObjectChangedError: if it is another one, or there is none.
        :raises UnreadableError: if this one cannot be had; see contents.py.
        :raises PipelineSourceError: if it breaks off.
        """
        ...
