"""What a store tells of its objects, and what each kind of store must be able to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from extend_pipeline.documents import OBJECT_FORBIDDEN


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

    :param tag: what changes with its content: see each store for what that is. Empty if it tells nothing.
    :param size_bytes: None if it tells none, or one that cannot be.
    :param modified: in UTC; None if it tells no time, or one that cannot be.
    :param version: what the store reads just this content by; None where it keeps the current one alone.
    :param archived: it lies in an archive, and cannot be read before it is restored.
    :param policy: what else than its address decides who may read it, such as the key that encrypts it.
    """

    key: str
    tag: str
    size_bytes: int | None
    modified: dt.datetime | None
    version: str | None = None
    archived: bool = False
    policy: str = ""


class Absent(NamedTuple):
    """There is no such object."""


class Forbidden(NamedTuple):
    """The credentials do not allow to read the object."""


class Unusable(NamedTuple):
    """Something is there, and what is wrong with it is its own affair.

    :param key: ends in a slash if it is a folder that cannot be listed.
    :param reason: one of the reasons of documents.py; ``message`` says it in a sentence for a person.
    """

    key: str
    reason: str
    message: str
    status: Literal["FAILED", "SKIPPED"] = "FAILED"


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


#: Objects that a page has to tell of to be worth its request.
FEWEST_RELISTED: Final = 16
#: How long a key may be, in bytes.
MOST_KEY_BYTES: Final = 1024

#: What a look at one address finds.
Seen: TypeAlias = Found | Absent | Forbidden | Unusable

#: Times that mean none: the first and the last year that a calendar has.
_NO_YEARS: Final = (dt.MINYEAR, dt.MAXYEAR)
#: As many bytes as a column of a warehouse can say.
_MOST_BYTES: Final = 2**63 - 1


def told_time(value: object) -> dt.datetime | None:
    """Return a time that a store tells, in UTC; None if it tells none, or one that cannot be.

    :param value: seconds since 1970, ISO 8601, or a time; one without a zone is in UTC.
    """
    try:
        if isinstance(value, str):
            value = dt.datetime.fromisoformat(value)
        elif isinstance(value, int | float):
            value = dt.datetime.fromtimestamp(value, dt.UTC)
        if not isinstance(value, dt.datetime) or value.year in _NO_YEARS:
            return None
        return value.astimezone(dt.UTC) if value.tzinfo else value.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def told_size(value: object) -> int | None:
    """Return a number of bytes that a store tells; None if it tells none, or one that cannot be."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None
    return value if isinstance(value, int) and 0 <= value <= _MOST_BYTES else None


def dated_tag(modified: dt.datetime, size: object) -> str:
    """Return the tag of an object that has no other: when it was modified, with its size."""
    return f"{modified:%Y%m%dT%H%M%S.%f}-{size or 0}"


def forbidden(key: str) -> Unusable:
    """Say that an object may not be read."""
    return Unusable(key, OBJECT_FORBIDDEN, "The connection may not read this object.")


def unlisted_folder(folder: str) -> Unusable:
    """Say that a folder below the source may not be listed."""
    message = "This folder may not be listed. What is in it is not known, and none of it was sent."
    return Unusable(f"{folder}/", OBJECT_FORBIDDEN, message)


@runtime_checkable
class ListsFromAnywhere(Protocol):
    """A store that can begin a listing at any key."""

    def page_from(self, prefix: Located, key: str) -> ListedPage | None:
        """Return one page that begins with a key; None if the store does not list so."""
        ...


def relist(store: ListsFromAnywhere, prefix: Located, keys: Sequence[str]) -> dict[str, Found | Absent]:
    """Look at many objects again by listing them; return what that tells of them, by their keys.

    A page tells of a thousand objects and costs as much as a dozen look-ups. It pays where the keys lie close
    together, as those of a chunk do. Objects for which it does not pay are left out, to be looked up singly.

    :param keys: below the prefix, each once, in their order.
    """
    told: dict[str, Found | Absent] = {}
    if len(keys) < FEWEST_RELISTED:
        return told
    while left := keys[len(told) :]:
        page = store.page_from(prefix, left[0])
        if page is None:
            break
        covered = [key for key in left if page.through is None or key <= page.through]
        told |= {key: page.found.get(key, Absent()) for key in covered}
        if len(covered) < FEWEST_RELISTED:
            break
    return told


class Store(Protocol):
    """Objects under one root, or under several that one connection opens."""

    def pages(self, prefix: Located) -> Iterator[Sequence[Found | Unusable]]:
        """Yield the objects whose keys begin with the prefix's, in the order of their keys where it has one.

        :raises PipelineInputError: if the place does not exist or may not be listed.
        """
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

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Return the object's content, from its start, if it is still the one with this tag.

        It can seek to its start, comes by the piece, and is the caller's to close.

        :raises ObjectChangedError: if it is another one, or there is none.
        :raises UnreadableError: if this one cannot be had; see contents.py.
        :raises PipelineSourceError: if it breaks off.
        """
        ...
