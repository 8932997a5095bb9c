"""What a store tells of its objects, and what each kind of store must be able to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias


class ObjectChangedError(Exception):
    """An object was replaced while it was being read. The task's retry sees what it is then."""


#: What Hadoop and Spark call S3.
_S3_ALIASES: Final = ("s3a://", "s3n://")


def canonical(address: str) -> str:
    """Return an address as documents are told apart by: ``s3a://`` and ``s3n://`` are S3."""
    return f"s3://{address[6:]}" if address.startswith(_S3_ALIASES) else address


class Located(NamedTuple):
    """An address in its two parts; the key is taken as it stands, whatever characters it holds.

    :param root: ``s3://bucket``, ``gs://bucket``, ``file://``, ``https://host``.
    :param key: what follows the slash after it.
    """

    root: str
    key: str

    @classmethod
    def of(cls, uri: str) -> Located:
        """Take an address apart, see :func:`canonical`."""
        scheme, _, rest = canonical(uri).partition("://")
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
    :param archived: it lies in an archive, and cannot be read before it is restored.
    :param policy: what else than its address decides who may read it, such as the key that encrypts it.
    """

    key: str
    tag: str
    size_bytes: int
    modified: dt.datetime
    version: str | None = None
    archived: bool = False
    policy: str = ""


class Absent(NamedTuple):
    """There is no such object."""


class Forbidden(NamedTuple):
    """The credentials do not allow to read the object."""


class Unusable(NamedTuple):
    """Something is there, and what is wrong with it is its own affair.

    :param reason: one of the reasons of documents.py; ``message`` says it in a sentence for a person.
    """

    key: str
    reason: str
    message: str
    status: Literal["FAILED", "SKIPPED"] = "FAILED"


class KeyRange(NamedTuple):
    """Keys that sort after ``after`` and not after ``until``; None has no end."""

    after: str = ""
    until: str | None = None


class ListedPage(NamedTuple):
    """What one request for a listing tells.

    :param found: the objects that are there, by their keys.
    :param through: the last key that it tells of; None if it tells of all that follow.
    """

    found: Mapping[str, Found]
    through: str | None


def just_before(key: str) -> str:
    """Return a text such that of what sorts after it, the key is the first (but for keys that nobody has)."""
    last = ord(key[-1]) - 1
    if last < 0:
        return key[:-1]
    # No text holds a surrogate.
    end = chr(0xD7FF if 0xD800 <= last <= 0xDFFF else last)
    longer = f"{key[:-1]}{end}{chr(0x10FFFF)}"
    return longer if len(longer.encode()) <= MOST_KEY_BYTES else key[:-1]


#: How long a key may be.
MOST_KEY_BYTES: Final = 1024

#: What a look at one address finds.
Seen: TypeAlias = Found | Absent | Forbidden | Unusable

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

    def look_up(self, place: Located) -> Seen:
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

    def read(self, place: Located, found_tag: str, version: str | None) -> bytes:
        """Return the object's content, if it is still the one with this tag.

        :raises ObjectChangedError: if it is another one.
        """
        ...
