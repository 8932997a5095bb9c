"""Signed addresses, which need no key: the query has the end of their validity and a signature of it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
import urllib.parse
from collections.abc import Mapping

from sandbox.extend_api.errors import ApiError

_SECRET = secrets.token_bytes(16)


def signed_query(identifier: str, lifetime_seconds: int) -> str:
    """Return the query of an address that is valid for so long."""
    expires = str(int(time.time()) + lifetime_seconds)
    return urllib.parse.urlencode({"expires": expires, "signature": _signature(identifier, expires)})


def check_query(identifier: str, query: Mapping[str, str]) -> None:
    """Raise ApiError (403) if the address has expired or has another signature."""
    expires, signature = query.get("expires", "0"), query.get("signature", "")
    valid = hmac.compare_digest(signature.encode(), _signature(identifier, expires).encode())
    if not valid or int(expires) <= time.time():
        raise ApiError(403, "FORBIDDEN", "Request has expired or its signature does not match.")


def _signature(identifier: str, expires: str) -> str:
    return hmac.new(_SECRET, f"{identifier}:{expires}".encode(), hashlib.sha256).hexdigest()
