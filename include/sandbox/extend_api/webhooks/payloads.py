"""Payloads that are sent as a URL: kept for an hour, as long as their URL is valid."""

from __future__ import annotations

import time

from sandbox.extend_api.errors import not_found
from sandbox.extend_api.signed_urls import signed_query

LIFETIME_SECONDS = 60 * 60
PATH = "/_payloads/"


class Payloads:
    """Payloads by name, in the order in which they expire."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, bytes]] = {}
        self.fetched = 0

    def address(self, name: str, payload: bytes) -> str:
        """Keep a payload and return its path with a new signature."""
        now = time.monotonic()
        self._kept.pop(name, None)
        while self._kept and next(iter(self._kept.values()))[0] < now:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = (now + LIFETIME_SECONDS, payload)
        return f"{PATH}{name}?{signed_query(name, LIFETIME_SECONDS)}"

    def get(self, name: str) -> bytes:
        """Return a payload; raises ApiError (404)."""
        if (kept := self._kept.get(name)) is None:
            raise not_found("Payload", name)
        self.fetched += 1
        return kept[1]
