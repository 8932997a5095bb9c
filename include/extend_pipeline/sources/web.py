"""Documents on the web, ``https://host/folder/file.pdf``, which Extend fetches itself.

The tag of a document is the ETag of the host's answer, or else its modification time and size. A document
without either is not sent: it would be unknown whether it was paid for already. Any other problem of an
address or its host affects only this document.
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
    plausible_size,
    plausible_time,
)

if TYPE_CHECKING:
    from requests import Response, Session

_ABSENT: Final = frozenset({404, 410})
_FORBIDDEN: Final = frozenset({401, 402, 403, 451})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_PIECE_BYTES: Final = 1 << 20
_CONNECT_SECONDS: Final = 10.0
_MOST_REDIRECTS: Final = 10
_A_SECOND: Final = dt.timedelta(seconds=1)
_NOT_SAFE: Final = (
    "The address redirects to one that is not https://, so the document could be changed on the way. Copy "
    "it to a bucket."
)


@dataclasses.dataclass(frozen=True, slots=True)
class WebStore:
    """Documents that anyone may read; see :class:`~extend_pipeline.sources.objects.Store`.

    :param timeout: seconds to wait for a connection, and between two pieces of an answer.
    """

    timeout: float = 60

    def pages(self, prefix: Located) -> Iterator[list[Found]]:
        """Refuse, because nothing can be listed on the web."""
        raise PipelineInputError(f"{prefix.uri!r}: a web host cannot be listed. Name each document.")

    def look_up(self, place: Located) -> Seen:
        """Request the headers of the document, and the document itself if they are not enough.

        Some hosts refuse HEAD, or answer it without looking at the document. Of an answer to GET, only the
        headers are read, unless they give no size.
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
        """Download the document, and check that it still has this tag."""

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
        """Send a request. The target of a redirect may be secret, so it is in no error.

        :raises _UnusableError: if there is no answer, or it breaks off.
        """
        import requests
        from urllib3.exceptions import HTTPError

        # Not compressed, so that the length is that of the document.
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
            message = "The address redirects too often, and never to a document."
            raise _UnusableError(place, OBJECT_UNREADABLE, message, is_final=True) from None
        except (requests.RequestException, HTTPError, ValueError) as error:
            problem = _certificate_problem(error)
            if problem is not None:
                message = (
                    f"The certificate of {place.root} is refused: {problem}. Its host has to renew it, or "
                    "copy the documents to a bucket."
                )
                raise _UnusableError(place, OBJECT_UNREACHABLE, message, is_final=True) from None
            if isinstance(error, ValueError):  # not a valid URL
                message = "This is not a valid address, or it redirects to one that is not."
                raise _UnusableError(place, OBJECT_UNREADABLE, message, is_final=True) from None
            message = f"The document could not be read from its host ({type(error).__name__})."
            is_final = isinstance(error, requests.ConnectTimeout)
            raise _UnusableError(place, OBJECT_UNREACHABLE, message, is_final=is_final) from None


class _UnusableError(Exception):
    """There is no usable answer about the document.

    :ivar is_final: True if another HTTP method would not help.
    """

    def __init__(self, place: Located, reason: str, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.seen = Unusable(place.key, reason, message)
        self.is_final = is_final


def _session() -> Session:
    """Return a session that retries twice if a host fails for the moment."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    retries = Retry(
        total=2,
        connect=0,  # its warning in the log would name the target of a redirect
        read=0,
        redirect=0,
        other=0,
        status_forcelist=_TRANSIENT,
        backoff_factor=0.1,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    session = requests.Session()
    session.max_redirects = _MOST_REDIRECTS
    session.mount("https://", HTTPAdapter(max_retries=retries))
    return session


def _certificate_problem(error: BaseException | None) -> str | None:
    """Return why a certificate was refused, if that is the cause of an error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.rstrip(".")
        error = error.__cause__ or error.__context__
    return None


def _length(answer: Response) -> int | None:
    return plausible_size(answer.headers.get("Content-Length", ""))


def _time(answer: Response, name: str) -> dt.datetime | None:
    try:
        return plausible_time(email.utils.parsedate_to_datetime(answer.headers.get(name, "")))
    except ValueError:
        return None


def _tag(answer: Response, size: int) -> str:
    """Return the ETag, or the time of modification with the size; empty if there is neither."""
    etag = written(answer.headers.get("ETag", "").removeprefix("W/").strip('"'))
    modified, now = _time(answer, "Last-Modified"), _time(answer, "Date")
    if etag or modified is None:
        return etag
    # Some hosts date each answer with the current time, which would give the document a new tag each time.
    is_dated_anew = now is not None and abs(now - modified) <= _A_SECOND
    return "" if is_dated_anew else f"{modified:%Y%m%dT%H%M%S}-{size}"


def _seen(place: Located, answer: Response, seconds: float, read: int | None = None) -> Seen:
    """Return what an answer says about the document. If it gives no size, count the bytes.

    :param seconds: the most time to count for.
    :param read: the size of the document, if it has been read.
    """
    status = answer.status_code
    if status in _ABSENT:
        return Absent()
    if status in _FORBIDDEN:
        return Forbidden()
    if status >= 400:
        reason = OBJECT_UNREACHABLE if status in _TRANSIENT or status >= 500 else OBJECT_UNREADABLE
        return Unusable(place.key, reason, f"The document's host answers HTTP {status}.")
    size = _length(answer) if read is None else read
    if size is None:
        size = _count(answer, time.monotonic() + seconds)
    return Found(place.key, _tag(answer, size or 0), size, _time(answer, "Last-Modified"))


def _count(answer: Response, end: float) -> int | None:
    """Return the number of bytes that follow; None if they have not ended by ``end``."""
    size = 0
    for piece in answer.iter_content(_PIECE_BYTES):
        size += len(piece)
        if time.monotonic() > end:
            return None
    return size
