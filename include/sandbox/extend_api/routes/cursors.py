"""Page tokens: opaque, and good only for the query they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping

_SECRET = secrets.token_bytes(16)


def make_token(query: Mapping[str, object], position: int) -> str:
    """Return the token, ``base64:base64`` like Extend's, that continues ``query`` behind ``position``."""
    payload = position.to_bytes(8, "big")
    return f"{_encode(_signature(query, payload))}:{_encode(payload)}"


def read_token(query: Mapping[str, object], token: str) -> int | None:
    """Return the position in ``token``; None if it was not made here, or for another query."""
    signature, _, payload = token.partition(":")
    try:
        raw = base64.b64decode(payload, validate=True)
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return None
    return int.from_bytes(raw, "big") if hmac.compare_digest(given, _signature(query, raw)) else None


def _signature(query: Mapping[str, object], payload: bytes) -> bytes:
    message = repr(sorted(query.items())).encode() + payload
    return hmac.digest(_SECRET, message, hashlib.sha256)[:16]


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
