"""How long an event loop was held up, told apart from how long the machine held up everybody."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator

_SECONDS = 0.005


class Heartbeat:
    """Beats in the loop and, beside it, in a thread: what waits in the loop lets the thread go on."""

    def __init__(self) -> None:
        self._in_loop: list[tuple[float, float]] = []
        self._in_thread: list[tuple[float, float]] = []
        self._ended = threading.Event()

    @property
    def held_up(self) -> float:
        """Seconds for which the loop alone stood still, at the longest."""
        return max((end - start - self._machine(start, end) for start, end in self._in_loop), default=0)

    def clear(self) -> None:
        """Forget what was until now."""
        self._in_loop.clear()

    def _machine(self, start: float, end: float) -> float:
        """Return the longest time between two beats of the thread in a time between two of the loop."""
        return max(
            (min(end, b) - max(start, a) for a, b in self._in_thread if a < end and b > start), default=0
        )

    async def _beat(self) -> None:
        while True:
            start = time.monotonic()
            await asyncio.sleep(_SECONDS)
            self._in_loop.append((start, time.monotonic()))

    def _beat_beside(self) -> None:
        while not self._ended.is_set():
            start = time.monotonic()
            time.sleep(_SECONDS)
            self._in_thread.append((start, time.monotonic()))


@contextlib.asynccontextmanager
async def heartbeat() -> AsyncIterator[Heartbeat]:
    """Watch the loop for the block."""
    beat = Heartbeat()
    beside = threading.Thread(target=beat._beat_beside, daemon=True)
    beside.start()
    beating = asyncio.create_task(beat._beat())
    try:
        yield beat
    finally:
        beating.cancel()
        beat._ended.set()
        beside.join()
