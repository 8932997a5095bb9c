"""Documents on the web, ``https://host/folder/file.pdf``, which Extend fetches by itself.

A document's tag is the ETag that its host tells, or the time of modification with the size. A document whose
host tells neither has none, and is not sent: what was paid for could not be told from what is new. Whatever
else is wrong with an address, or its host, is the affair of that document alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import email.utils
import ssl
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from extend_pipeline.documents import OBJECT_UNREACHABLE, OBJECT_UNREADABLE
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources.contents import UnreadableError, spooled
from extend_pipeline.sources.document_names import written
from extend_pipeline.sources.objects import (
    Absent,
    Forbidden,
    Found,
    Located,
    ObjectChangedError,
    Seen,
    Unusable,
    told_size,
    told_time,
)

if TYPE_CHECKING:
    from requests import Response, Session

_ABSENT: Final = frozenset({404, 410})
_FORBIDDEN: Final = frozenset({401, 402, 403, 451})
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_PIECE_BYTES: Final = 1 << 20
_CONNECT_SECONDS: Final = 10.0
_MOST_REDIRECTS: Final = 10
_A_SECOND: Final = dt.timedelta(seconds=1)
_NOT_SAFE: Final = (
    "The address leads to one that is not https://, where anybody on the way could change the document. Copy "
    "it to a bucket."
)


@dataclasses.dataclass(frozen=True, slots=True)
class WebStore:
    """See :class:`~extend_pipeline.sources.objects.Store`; documents that anybody may read.

    :param timeout: seconds until a host is reached, and between two pieces of its answer.
    """

    timeout: float = 60

    def pages(self, prefix: Located) -> Iterator[list[Found]]:
        """Refuse: nothing can be listed there."""
        raise PipelineInputError(f"{prefix.uri!r}: a host does not list what it has. Name each document.")

    def look_up(self, place: Located) -> Seen:
        """Ask for the document's headers, and for the document itself if those tell too little.

        Some hosts refuse HEAD, or answer it without looking at the document. Of an answer to GET no more is
        read than its headers, unless these do not tell a size.
        """
        try:
            with self._ask("HEAD", place) as answer:
                length = _length(answer)
                if answer.status_code < 400 and length and _tag(answer, length):
                    return _seen(place, answer, self.timeout)
                if answer.status_code in _ABSENT:
                    return Absent()
        except _UnusableError as error:
            if error.is_final:
                return error.seen
        try:
            with self._ask("GET", place) as answer:
                return _seen(place, answer, self.timeout * 10)
        except _UnusableError as error:
            return error.seen

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> str:
        """Return the address itself."""
        return place.uri

    def check_signing(self, expires_in: int) -> None:
        """Nothing is signed."""

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Download the document, and see that it is still the one with this tag."""

        def copy(file: IO[bytes]) -> None:
            with self._ask("GET", place) as answer:
                for piece in answer.iter_content(_PIECE_BYTES):
                    file.write(piece)
                now = _seen(place, answer, self.timeout, read=file.tell())
            if isinstance(now, Unusable):
                raise UnreadableError(*now[1:])
            if not isinstance(now, Found) or now.tag != found_tag:
                raise ObjectChangedError(f"{place.uri} was replaced or deleted while it was read.")

        try:
            return spooled(place.uri, copy)
        except _UnusableError as error:
            raise UnreadableError(error.seen.reason, error.seen.message) from None

    @contextlib.contextmanager
    def _ask(self, method: str, place: Located) -> Iterator[Response]:
        """Send a request; what a redirect leads to may be secret and is in no error.

        :raises _UnusableError: if there is no answer, or it breaks off.
        """
        import requests
        from urllib3.exceptions import HTTPError

        # As it is, not packed: the length is to be the document's.
        headers = {"Accept-Encoding": "identity"}
        try:
            with _session() as session:
                answer = session.request(
                    method,
                    place.uri,
                    headers=headers,
                    timeout=(min(self.timeout, _CONNECT_SECONDS), self.timeout),
                    allow_redirects=True,
                    stream=True,
                )
                with answer:
                    if not answer.url.startswith("https://"):
                        raise _UnusableError(place, OBJECT_UNREADABLE, _NOT_SAFE, is_final=True)
                    yield answer
        except requests.TooManyRedirects:
            message = "The address leads from one to the next, and never to a document."
            raise _UnusableError(place, OBJECT_UNREADABLE, message, is_final=True) from None
        except (requests.RequestException, HTTPError, ValueError) as error:
            distrust = _distrust(error)
            if distrust is not None:
                message = (
                    f"The certificate of {place.root} is refused: {distrust}. Its host has to renew it, or "
                    "copy the documents to a bucket."
                )
                raise _UnusableError(place, OBJECT_UNREACHABLE, message, is_final=True) from None
            if isinstance(error, ValueError):  # of no form that a request could be sent to
                message = "This is no address of a document, or leads to one that is none."
                raise _UnusableError(place, OBJECT_UNREADABLE, message, is_final=True) from None
            message = f"The document could not be read from its host ({type(error).__name__})."
            is_final = isinstance(error, requests.ConnectTimeout)
            raise _UnusableError(place, OBJECT_UNREACHABLE, message, is_final=is_final) from None


class _UnusableError(Exception):
    """There is no answer that tells of the document.

    :ivar is_final: whether another method would find no other.
    """

    def __init__(self, place: Located, reason: str, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.seen = Unusable(place.key, reason, message)
        self.is_final = is_final


def _session() -> Session:
    """Return a session that asks twice more where a host fails for the moment."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    retries = Retry(
        total=2,
        connect=0,  # a warning in the log would tell where a redirect leads to
        read=0,
        redirect=0,
        other=0,
        status_forcelist=_PASSING,
        backoff_factor=0.1,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    session = requests.Session()
    session.max_redirects = _MOST_REDIRECTS
    session.mount("https://", HTTPAdapter(max_retries=retries))
    return session


def _distrust(error: BaseException | None) -> str | None:
    """Return why a certificate was refused, if that is what an error came from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.rstrip(".")
        error = error.__cause__ or error.__context__
    return None


def _length(answer: Response) -> int | None:
    return told_size(answer.headers.get("Content-Length", ""))


def _time(answer: Response, name: str) -> dt.datetime | None:
    try:
        return told_time(email.utils.parsedate_to_datetime(answer.headers.get(name, "")))
    except ValueError:
        return None


def _tag(answer: Response, size: int) -> str:
    """Return the ETag, or the time of modification with the size; nothing if neither is told."""
    etag = written(answer.headers.get("ETag", "").removeprefix("W/").strip('"'))
    modified, now = _time(answer, "Last-Modified"), _time(answer, "Date")
    if etag or modified is None:
        return etag
    # A host that dates each answer anew would make the same document a new one each time.
    is_dated_anew = now is not None and abs(now - modified) <= _A_SECOND
    return "" if is_dated_anew else f"{modified:%Y%m%dT%H%M%S}-{size}"


def _seen(place: Located, answer: Response, seconds: float, read: int | None = None) -> Seen:
    """Return what an answer tells; the size is counted if it does not tell it, for so long at the most.

    :param read: how many bytes the document has, if it has been read.
    """
    status = answer.status_code
    if status in _ABSENT:
        return Absent()
    if status in _FORBIDDEN:
        return Forbidden()
    if status >= 400:
        reason = OBJECT_UNREACHABLE if status in _PASSING or status >= 500 else OBJECT_UNREADABLE
        return Unusable(place.key, reason, f"The document's host answers HTTP {status}.")
    size = _length(answer) if read is None else read
    if size is None:
        size = _count(answer, time.monotonic() + seconds)
    return Found(place.key, _tag(answer, size or 0), size, _time(answer, "Last-Modified"))


def _count(answer: Response, end: float) -> int | None:
    """Return how many bytes follow; None if they have not come to an end by then."""
    size = 0
    for piece in answer.iter_content(_PIECE_BYTES):
        size += len(piece)
        if time.monotonic() > end:
            return None
    return size
