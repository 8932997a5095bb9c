"""Query parameters of the listing endpoints, with the API's checks, and their page tokens.

A token is opaque and valid only for its own query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any, TypeVar

from sandbox.extend_api.errors import InvalidRequest
from sandbox.extend_api.settings import Settings
from sandbox.extend_api.state.model import STATUSES
from sandbox.extend_api.state.store import RunQuery, SortBy

DEFAULT_PAGE_SIZE = 10
LARGEST_PAGE_SIZE = 1000
_SORTABLE: tuple[SortBy, ...] = ("updatedAt", "createdAt")
Choice = TypeVar("Choice", bound=str)
_SECRET = secrets.token_bytes(16)


def run_query(params: Mapping[str, str]) -> RunQuery:
    """Return the query of a listing of runs; raises InvalidRequest."""
    status = params.get("status")
    if status is not None and status not in STATUSES:
        raise InvalidRequest(f"Invalid enum value; expected one of {', '.join(sorted(STATUSES))}", "status")
    return RunQuery(
        status=status,
        workflow_id=params.get("workflowId"),
        batch_id=params.get("batchId"),
        file_name_contains=params.get("fileNameContains"),
        sort_by=_choice(params, "sortBy", _SORTABLE),
        ascending=ascending(params),
    )


def ascending(params: Mapping[str, str]) -> bool:
    """Return True if the listing is ascending; the default is descending."""
    return _choice(params, "sortDir", ("desc", "asc")) == "asc"


def page_size(params: Mapping[str, str], settings: Settings) -> int:
    """Return the size of a page; raises InvalidRequest outside 1..1000, unless the settings cap it."""
    text = params.get("maxPageSize")
    if text is None:
        return min(DEFAULT_PAGE_SIZE, settings.max_page_size)
    try:
        size = int(text)
    except ValueError:
        raise InvalidRequest("Expected a number", "maxPageSize") from None
    too_large = size > LARGEST_PAGE_SIZE and settings.page_size_over_limit == "reject"
    if size < 1 or too_large:
        raise InvalidRequest(f"Expected a number between 1 and {LARGEST_PAGE_SIZE}", "maxPageSize")
    return min(size, settings.max_page_size)


def page_position(params: Mapping[str, str], settings: Settings) -> int | None:
    """Return the position after which the page begins; raises InvalidRequest for a token of another query."""
    token = params.get("nextPageToken")
    if not token:
        return None
    found = _read_token(_bound(params), token)
    if found is None and settings.invalid_page_token == "reject":
        raise InvalidRequest("Invalid page token", "nextPageToken")
    return found


def next_page(params: Mapping[str, str], position: int | None, settings: Settings) -> dict[str, Any]:
    """Return ``nextPageToken`` for the answer."""
    if position is not None:
        return {"nextPageToken": _make_token(_bound(params), position)}
    return {} if settings.last_page_token == "absent" else {"nextPageToken": None}


def _bound(params: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the query that a token is valid for."""
    return {name: value for name, value in params.items() if name not in ("nextPageToken", "maxPageSize")}


def _choice(params: Mapping[str, str], name: str, choices: tuple[Choice, ...]) -> Choice:
    """Return a parameter with a few possible values; the first one is the default."""
    value = params.get(name)
    for choice in choices:
        if value in (None, choice):
            return choice
    raise InvalidRequest(f"Invalid enum value; expected one of {', '.join(choices)}", name)


def _make_token(query: Mapping[str, str], position: int) -> str:
    """Return the token, ``base64:base64`` like Extend's, that continues ``query`` after ``position``."""
    payload = position.to_bytes(8, "big")
    return f"{_encode(_signature(query, payload))}:{_encode(payload)}"


def _read_token(query: Mapping[str, str], token: str) -> int | None:
    """Return the position in ``token``; None if it is invalid or of another query."""
    signature, _, payload = token.partition(":")
    try:
        raw = base64.b64decode(payload, validate=True)
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return None
    return int.from_bytes(raw, "big") if hmac.compare_digest(given, _signature(query, raw)) else None


def _signature(query: Mapping[str, str], payload: bytes) -> bytes:
    message = repr(sorted(query.items())).encode() + payload
    return hmac.digest(_SECRET, message, hashlib.sha256)[:16]


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
