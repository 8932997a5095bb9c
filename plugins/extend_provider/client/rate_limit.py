"""A limit on requests per second, shared by all hooks of a process that use the same connection.

Extend limits an organization, so all triggers of a triggerer and all threads of a task share one budget.
Callers reserve a slot under a lock that is held briefly and then wait in their own way, so threads and event
loops can share one limiter. (aiolimiter is bound to one event loop; pyrate-limiter brings
buckets, clocks and background threads for what is one addition here.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimiter:
    """Hands out moments in time that are at least ``1 / requests_per_second`` apart."""

    def __init__(self, requests_per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests_per_second = requests_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._next_slot = clock()

    def reserve(self) -> float:
        """Take the next slot and return the seconds to wait for it."""
        with self._lock:
            now = self._clock()
            slot = max(self._next_slot, now)
            self._next_slot = slot + 1 / self.requests_per_second
            return slot - now


_limiters: dict[str, RateLimiter] = {}
_limiters_lock = threading.Lock()


def limiter_for(conn_id: str, requests_per_second: float) -> RateLimiter:
    """Return the process's limiter of a connection; a changed rate holds from the next request on."""
    with _limiters_lock:
        limiter = _limiters.setdefault(conn_id, RateLimiter(requests_per_second))
        limiter.requests_per_second = requests_per_second
        return limiter
