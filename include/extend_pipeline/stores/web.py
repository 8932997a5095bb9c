"""Documents on the web, ``https://host/folder/file.pdf``, which Extend fetches by itself.

A document's tag is the ETag that its host tells, or the time of modification with the size. A host that
tells neither cannot be used: what was paid for could not be told from what is new.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import email.utils
from collections.abc import Iterator, Mapping
from typing import Final

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.stores.records import (
    WHOLE,
    Absent,
    Forbidden,
    Found,
    KeyRange,
    Located,
    ObjectChangedError,
)

_TIMEOUT_SECONDS: Final = 60
_ABSENT: Final = frozenset({404, 410})
_FORBIDDEN: Final = frozenset({401, 403})


@dataclasses.dataclass(frozen=True, slots=True)
class WebStore:
    """See :class:`~extend_pipeline.stores.records.Store`; documents that anybody may read."""

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
        """Ask for the document's headers."""
        import requests

        answer = requests.head(place.uri, allow_redirects=True, timeout=_TIMEOUT_SECONDS)
        if answer.status_code in _ABSENT:
            return Absent()
        if answer.status_code in _FORBIDDEN:
            return Forbidden()
        answer.raise_for_status()
        return _found(place, answer.headers)

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> str:
        """Return the address itself."""
        return place.uri

    def check_signing(self, expires_in: int) -> None:
        """Nothing is signed."""

    def read(self, place: Located, found_tag: str, version: str | None) -> bytes:
        """Download the document, and see that it is still the one with this tag."""
        import requests

        answer = requests.get(place.uri, timeout=_TIMEOUT_SECONDS)
        answer.raise_for_status()
        if _found(place, answer.headers).tag != found_tag:
            raise ObjectChangedError(f"{place.uri} was replaced while it was read.")
        return answer.content


def _found(place: Located, headers: Mapping[str, str]) -> Found:
    text, size = headers.get("Last-Modified", ""), int(headers.get("Content-Length", -1))
    tag = headers.get("ETag", "").removeprefix("W/").strip('"')
    modified = email.utils.parsedate_to_datetime(text).astimezone(dt.UTC) if text else None
    if not tag and modified is not None and size >= 0:
        tag = f"{modified:%Y%m%dT%H%M%S}-{size}"
    if not tag:
        raise PipelineInputError(
            f"{place.uri!r}: its host tells neither an ETag nor when it was modified, so it could not be "
            "told whether it was paid for. Nothing was sent to Extend. Copy the document to a bucket."
        )
    return Found(place.key, tag, size, modified or dt.datetime.fromtimestamp(0, dt.UTC))
