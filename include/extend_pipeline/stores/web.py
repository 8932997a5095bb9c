"""Documents on the web, ``https://host/folder/file.pdf``, which Extend fetches by itself.

A document's tag is the ETag that its host tells, or the time of modification with the size. A host that
tells neither cannot be used: what was paid for could not be told from what is new.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import email.utils
import ssl
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from extend_pipeline.exceptions import PipelineInputError, PipelineSourceError
from extend_pipeline.stores.contents import spooled
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
    from requests import Response

_ABSENT: Final = frozenset({404, 410})
_FORBIDDEN: Final = frozenset({401, 403})
_NO_HEAD: Final = frozenset({405, 501})
_PASSING: Final = frozenset({408, 425, 429})
_PIECE_BYTES: Final = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class WebStore:
    """See :class:`~extend_pipeline.stores.records.Store`; documents that anybody may read.

    :param timeout: seconds until a host is reached, and between two pieces of its answer.
    """

    timeout: float = 60

    def pages(self, prefix: Located, keys: KeyRange = WHOLE) -> Iterator[list[Found]]:
        """Refuse: nothing can be listed there."""
        raise PipelineInputError(f"{prefix.uri!r}: a host does not list what it has. Name each document.")

    def can_split(self, prefix: Located) -> bool:
        """Nothing can be listed there."""
        return False

    def split(self, prefix: Located, after: str) -> list[KeyRange]:
        """Return nothing, as nothing can be listed there."""
        return []

    def look_up(self, place: Located) -> Found | Absent | Forbidden:
        """Ask for the document's headers; for the document itself if they do not tell its size."""
        with self._ask("HEAD", place) as answer:
            tells = answer.status_code not in _NO_HEAD
            if tells and (answer.status_code >= 400 or _length(answer) is not None):
                return _seen(place, answer)
        with self._ask("GET", place) as answer:
            return _seen(place, answer)

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
                now = _seen(place, answer, read=file.tell())
            if not isinstance(now, Found) or now.tag != found_tag:
                raise ObjectChangedError(f"{place.uri} was replaced or deleted while it was read.")

        return spooled(place.uri, copy)

    @contextlib.contextmanager
    def _ask(self, method: str, place: Located) -> Iterator[Response]:
        """Send a request; what a redirect leads to may be secret and is in no error.

        :raises PipelineInputError: if the host is not to be trusted.
        :raises PipelineSourceError: if it cannot be reached, or breaks off.
        """
        import requests

        # As it is, not packed: the length is to be the document's.
        headers = {"Accept-Encoding": "identity"}
        try:
            with requests.request(
                method, place.uri, headers=headers, timeout=self.timeout, allow_redirects=True, stream=True
            ) as answer:
                if not answer.url.startswith("https://"):
                    raise PipelineInputError(
                        f"{place.uri!r} leads to an address that is not https://, where anybody on the way "
                        "could change the document. Nothing was sent to Extend. Copy it to a bucket."
                    )
                yield answer
        except requests.RequestException as error:
            distrust = _distrust(error)
            if distrust is not None:
                raise PipelineInputError(
                    f"The certificate of {place.root} is refused: {distrust}. Nothing was sent to Extend. "
                    "Its host has to renew it, or copy the documents to a bucket."
                ) from None
            raise PipelineSourceError(
                f"{place.uri!r} could not be read ({type(error).__name__}). Nothing was sent to Extend; the "
                "next attempt of this task asks again.",
                retryable=True,
            ) from None


def _distrust(error: BaseException | None) -> str | None:
    """Return why a certificate was refused, if that is what an error came from."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message.rstrip(".")
        error = error.__cause__ or error.__context__
    return None


def _length(answer: Response) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _seen(place: Located, answer: Response, read: int | None = None) -> Found | Absent | Forbidden:
    """Return what an answer tells; the size is counted if it does not tell it.

    :param read: how many bytes the document has, if it has been read.
    """
    status = answer.status_code
    if status in _ABSENT:
        return Absent()
    if status in _FORBIDDEN:
        return Forbidden()
    if status >= 400:
        raise PipelineSourceError(
            f"{place.uri!r}: its host answers HTTP {status}. Nothing was sent to Extend.",
            status=status,
            retryable=status >= 500 or status in _PASSING,
        )
    size = _length(answer) if read is None else read
    if size is None:
        size = sum(len(piece) for piece in answer.iter_content(_PIECE_BYTES))
    return _found(place, answer.headers, size)


def _found(place: Located, headers: Mapping[str, str], size: int) -> Found:
    text = headers.get("Last-Modified", "")
    tag = headers.get("ETag", "").removeprefix("W/").strip('"')
    modified = email.utils.parsedate_to_datetime(text).astimezone(dt.UTC) if text else None
    if not tag and modified is not None:
        tag = f"{modified:%Y%m%dT%H%M%S}-{size}"
    if not tag:
        raise PipelineInputError(
            f"{place.uri!r}: its host tells neither an ETag nor when it was modified, so it could not be "
            "told whether it was paid for. Nothing was sent to Extend. Copy the document to a bucket."
        )
    return Found(place.key, tag, size, modified or dt.datetime.fromtimestamp(0, dt.UTC))
