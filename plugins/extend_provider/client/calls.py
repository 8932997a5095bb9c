"""A request to Extend as a value: what to send, whether it may be sent twice, how to read the answer.

An endpoint is written once for both hooks because it does no I/O: it is either one :class:`ApiCall`, or a
generator that yields calls and is sent their results (see :data:`Steps`). A hook only carries out calls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO, Generic, Literal, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from extend_provider.client.models import Page
from extend_provider.exceptions import ExtendInputError, ExtendServerError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Steps(Protocol[T_co]):
    """What an endpoint returns: iterating it yields calls, takes their results, and ends with its own.

    ``result = yield from call`` makes a step of a call; an error of the call is raised there.
    """

    def __iter__(self) -> Generator[ApiCall[Any], Any, T_co]:
        """Begin."""


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """A file to send as multipart form from its current position, with the form's other fields."""

    name: str
    content: BinaryIO = dataclasses.field(repr=False)
    start: int
    size: int
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, name: str, content: BinaryIO | bytes, fields: Mapping[str, str]) -> Upload:
        """Measure the content; raise ExtendInputError if it cannot seek: a second try must rewind it."""
        stream: BinaryIO = BytesIO(content) if isinstance(content, bytes) else content
        if not stream.seekable():
            raise ExtendInputError(
                f"File {name!r} cannot be uploaded from a stream that cannot seek; spool it first."
            )
        start = stream.tell()
        size = stream.seek(0, SEEK_END) - start
        stream.seek(start)
        return cls(name, stream, start, size, fields)


@dataclasses.dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """One request and the reading of its answer.

    :param intent: what it is for, in words that continue "Extend refused to …".
    :param read: makes the result of the decoded JSON body.
    :param repeatable: False where sending twice could create, and bill, twice.
    :param body: JSON, encoded.
    :param complete: adds to the result what only the undecoded body has.
    :param leave_by: when it must have begun to leave, or not at all; timezone-aware. None: any time.
    :param headers: that it has besides those of every request, or instead of them.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    intent: str
    read: Callable[[object], T] = dataclasses.field(repr=False)
    repeatable: bool = True
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = dataclasses.field(default=None, repr=False)
    upload: Upload | None = None
    complete: Callable[[T, bytes], T] | None = dataclasses.field(default=None, repr=False)
    leave_by: datetime | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Generator[ApiCall[Any], Any, T]:
        result: T = yield self
        return result

    @property
    def is_brief(self) -> bool:
        """Whether the answer comes soon: the request creates no work and carries no file."""
        return self.repeatable and self.upload is None


class Cursor(Generic[T]):
    """Follows ``nextPageToken`` from page to page until there is none.

    The number of items on a page means nothing: a server may cap the size below what was asked, and a page in
    the middle may be empty. Only a page without a token ends the list.

    :param first: the call of the first page. Its filters are repeated for each page, because a token is bound
        to the filters that it was given for.
    """

    def __init__(self, first: ApiCall[Page[T]]) -> None:
        self._first = first
        self._seen: set[str] = set()

    def after(self, page: Page[T]) -> ApiCall[Page[T]] | None:
        """Return the call of the next page, None after the last one.

        :raises ExtendServerError: a token was given twice, so the rest of the list cannot be read. The part
            that was read is not the whole list, and proves nothing about what is missing from it.
        """
        token = page.next_page_token
        if token is None:
            return None
        if token in self._seen:
            raise ExtendServerError(
                f"Extend gave a page token twice, after {len(self._seen) + 1} pages: the list is incomplete, "
                "and what is not in it may exist all the same. A later listing may be complete.",
                retryable=True,
            )
        self._seen.add(token)
        return dataclasses.replace(self._first, params={**self._first.params, "nextPageToken": token})


def path_of(*segments: str) -> str:
    """Return a path of segments that cannot leave their place; raise ExtendInputError for an empty one."""
    if not all(segments):
        raise ExtendInputError("An id is missing: it is empty.")
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


def json_body(body: Mapping[str, Any]) -> bytes:
    """Encode a body; raise ExtendInputError for what is no JSON."""
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except (TypeError, ValueError) as error:
        raise ExtendInputError(f"The request cannot be written as JSON: {error}.") from None


def _plain(value: Any) -> Any:
    """Let any mapping pass for a JSON object."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON value")
