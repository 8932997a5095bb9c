"""Descriptions of objects, and the interface that every kind of store implements."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from extend_pipeline.documents import OBJECT_FORBIDDEN


class ObjectChangedError(Exception):
    """An object was replaced or deleted while it was read. A retry of the task looks at it again."""


#: Hadoop's and Spark's schemes for S3.
_S3_ALIASES: Final = ("s3a://", "s3n://")


def canonical(address: str) -> str:
    """Return an address as it identifies documents: with ``s3://`` for ``s3a://`` and ``s3n://``."""
    return f"s3://{address[6:]}" if address.startswith(_S3_ALIASES) else address


class Located(NamedTuple):
    """An address as root and key; the key is not changed, whatever characters it holds.

    :param root: ``s3://bucket``, ``gs://bucket``, ``file://``, ``https://host``.
    :param key: what follows the slash after the root.
    """

    root: str
    key: str

    @classmethod
    def of(cls, uri: str) -> Located:
        """Divide an address, see :func:`canonical`."""
        scheme, _, rest = canonical(uri).partition("://")
        authority, _, key = rest.partition("/")
        return cls(f"{scheme}://{authority}", key)

    @property
    def uri(self) -> str:
        """The address as a person writes it."""
        return f"{self.root}/{self.key}"


class Found(NamedTuple):
    """An object as its store describes it.

    :param tag: changes with the content; each store says what it is. Empty if the store has none.
    :param size_bytes: None if the store gives no size, or an impossible one.
    :param modified: in UTC; None if the store gives no time, or an impossible one.
    :param version: the version id of exactly this content; None if the store keeps no versions.
    :param archived: whether it lies in an archive and has to be restored before it can be read.
    :param policy: what else decides who may read it, such as the key that encrypts it.
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
    """The credentials do not allow reading the object."""


class Unusable(NamedTuple):
    """An object, or a folder, that cannot be used; no other is affected.

    :param key: ends in a slash if it is a folder that cannot be listed.
    :param reason: one of the reasons of documents.py; ``message`` explains it to a person.
    """

    key: str
    reason: str
    message: str
    status: Literal["FAILED", "SKIPPED"] = "FAILED"


class ListedPage(NamedTuple):
    """The answer to one request for a listing.

    :param found: the objects that exist, by key.
    :param through: the last key that the page covers; None if it covers all keys that follow.
    """

    found: Mapping[str, Found]
    through: str | None


def just_before(key: str) -> str:
    """Return a text that sorts before the key, with no realistic key between the two."""
    last = ord(key[-1]) - 1
    if last < 0:
        return key[:-1]
    # No text holds a surrogate.
    end = chr(0xD7FF if 0xD800 <= last <= 0xDFFF else last)
    longer = f"{key[:-1]}{end}{chr(0x10FFFF)}"
    return longer if len(longer.encode()) <= MOST_KEY_BYTES else key[:-1]


#: Objects that are looked up, checked or uploaded at the same time.
LOOK_UPS: Final = 16
#: Fewest objects on a page for which the page is cheaper than a request for each.
FEWEST_RELISTED: Final = 16
#: One page with fewer of them is accepted for so many keys, because those that follow may be close together.
KEYS_PER_SPARSE_PAGE: Final = 100
#: How long a key may be, in bytes.
MOST_KEY_BYTES: Final = 1024

#: The result of looking up one address.
Seen: TypeAlias = Found | Absent | Forbidden | Unusable

#: The first and the last year of the calendar; stores use them for "no time".
_NO_YEARS: Final = (dt.MINYEAR, dt.MAXYEAR)
#: The largest number that a column of a warehouse holds.
_MOST_BYTES: Final = 2**63 - 1


def plausible_time(value: object) -> dt.datetime | None:
    """Return the time that a store gives, in UTC; None if it gives none, or an impossible one.

    :param value: seconds since 1970, ISO 8601, or a time; without a zone it is in UTC.
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


def plausible_size(value: object) -> int | None:
    """Return the number of bytes that a store gives; None if it gives none, or an impossible one."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None
    return value if isinstance(value, int) and 0 <= value <= _MOST_BYTES else None


def dated_tag(modified: dt.datetime, size: object) -> str:
    """Return the tag of an object that has no other: the time of its modification and its size."""
    return f"{modified:%Y%m%dT%H%M%S.%f}-{size or 0}"


def forbidden(key: str) -> Unusable:
    """Return an object that may not be read."""
    return Unusable(key, OBJECT_FORBIDDEN, "The connection may not read this object.")


def unlisted_folder(folder: str) -> Unusable:
    """Return a folder below the source that may not be listed."""
    message = "This folder may not be listed. What is in it is not known, and none of it was sent."
    return Unusable(f"{folder}/", OBJECT_FORBIDDEN, message)


@runtime_checkable
class ListsFromAnywhere(Protocol):
    """A store that can begin a listing at any key."""

    def page_from(self, prefix: Located, key: str, newest: str | None) -> ListedPage | None:
        """Return one page that begins with a key; None if the objects have to be looked up one by one.

        :param newest: the key of the object that was written last; its versions tell those of all others.
            None if no version is needed.
        """
        ...


def relist(
    store: ListsFromAnywhere, prefix: Located, keys: Sequence[str], newest: str | None
) -> dict[str, Found | Absent]:
    """Look up many objects by listing them; return the results by key.

    A page has a thousand objects and costs as much as a dozen single requests. It pays if the keys are close
    together, as those of a chunk are. After a few pages that do not pay, the objects that are left are left
    out, and the caller looks them up one by one.

    :param keys: below the prefix, distinct and sorted.
    :param newest: see :meth:`ListsFromAnywhere.page_from`.
    """
    seen: dict[str, Found | Absent] = {}
    if len(keys) < FEWEST_RELISTED:
        return seen
    sparse_pages = max(1, len(keys) // KEYS_PER_SPARSE_PAGE)
    while left := keys[len(seen) :]:
        page = store.page_from(prefix, left[0], newest)
        if page is None:
            break
        covered = [key for key in left if page.through is None or key <= page.through]
        seen |= {key: page.found.get(key, Absent()) for key in covered}
        sparse_pages -= len(covered) < FEWEST_RELISTED
        if not covered or not sparse_pages:
            break
    return seen


class Store(Protocol):
    """Objects under one root, or under several that one connection opens."""

    def pages(self, prefix: Located) -> Iterator[Sequence[Found | Unusable]]:
        """Yield the objects whose keys begin with that of the prefix, in the order of keys if there is one.

        :raises PipelineInputError: if the place does not exist or may not be listed.
        """
        ...

    def look_up(self, place: Located) -> Seen:
        """Return one object as it is now."""
        ...

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> str | None:
        """Return a URL that reads the object for so many seconds; None if the store has none."""
        ...

    def check_signing(self, expires_in: int) -> None:
        """Check that URLs signed now would stay valid that long.

        :raises PipelineInputError: if the credentials expire earlier.
        """
        ...

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Return the content of the object if it still has this tag.

        The content is a stream that can seek to its start; the caller must close it.

        :raises ObjectChangedError: if the object has another tag, or is gone.
        :raises UnreadableError: if this object cannot be read; see contents.py.
        :raises PipelineSourceError: if the transfer breaks off.
        """
        ...
