"""How many requests are open at the same time: as many as the round trip needs, so that the rate limits."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable


class InFlight:
    """A semaphore for one event loop whose size follows what is known of the round trip by now.

    :param most: returns how many may be open at the moment.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._open = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    async def __aenter__(self) -> None:
        """Wait for a place."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()
            raise

    async def __aexit__(self, *exc: object) -> None:
        """Leave the place to others."""
        self._leave()

    def _leave(self) -> None:
        self._open -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._open < self._most():
            place = self._waiting.popleft()
            if not place.done():
                self._open += 1
                place.set_result(None)
