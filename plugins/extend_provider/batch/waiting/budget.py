"""How often all waits of a process together ask Extend: a share of what the connection may read.

Each wait says how often it would ask if it were alone. While all wishes fit, each is granted. When they do
not, every interval is stretched by one factor, so a batch near its end, which wishes short intervals, is
still asked about more often than one that has hardly begun, and none is forgotten. What is due at the same
moment gets slots one after another, whatever the wishes were: the bound holds from the first second.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

#: Share of the read rate by which intervals are stretched, and the one that slots keep. The rest is for
#: collecting results, and for others who use the same limit.
SHARE: Final = 0.15
SLOT_SHARE: Final = 0.18
#: Requests per second that are always allowed, so that a lone batch is asked about every five seconds
#: however small the limit is.
LEAST: Final = 0.2
#: Seconds below which a shorter interval is no stronger wish.
SHORTEST: Final = 0.5


class ReadBudget:
    """The lists that the waits of one process may ask of one connection. Threads may share it.

    :param rate: returns how many reads per second the connection is allowed at the moment; may be replaced.
    :param clock: seconds from any start.
    """

    def __init__(self, rate: Callable[[], float], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.rate = rate
        self._lock = threading.Lock()
        self._wishes: dict[int, float] = {}
        self._wished = 0.0
        self._next_slot = clock()
        self._numbers = itertools.count()

    def stretch(self) -> float:
        """Return the factor by which intervals are longer than wished, at least 1."""
        return max(1.0, self._wished / max(SHARE * self.rate(), LEAST))

    def join(self, interval: float, requests: int = 1, *, chance: float) -> Turn:
        """Return the turn of a new wait; it must be left again.

        :param interval: seconds until its first look, if all wishes fit.
        :param requests: how many a look takes.
        :param chance: a number in [0, 1) that spreads the first looks of waits that begin together.
        """
        turn = Turn(self, next(self._numbers))
        turn.asked(interval, requests, spread=chance)
        return turn

    def wish(self, number: int, per_second: float) -> None:
        """Note how often a wait would ask; 0: it has ended."""
        with self._lock:
            self._wishes[number] = per_second
            if not per_second:
                del self._wishes[number]
            # Summed anew: adding and subtracting for weeks would drift.
            self._wished = sum(self._wishes.values())

    def slot(self, requests: int) -> float:
        """Take the next slot, and return its moment by :attr:`clock`."""
        with self._lock:
            slot = max(self._next_slot, self.clock())
            self._next_slot = slot + requests / max(SLOT_SHARE * self.rate(), LEAST)
            return slot


class Turn:
    """When one wait may ask next; made by :meth:`ReadBudget.join`."""

    def __init__(self, budget: ReadBudget, number: int) -> None:
        self._budget = budget
        self._number = number
        self._since = self._interval = 0.0
        self._requests = 1
        self._spread = 1.0
        self._slot: float | None = None

    def asked(self, interval: float, requests: int, *, spread: float = 1.0) -> None:
        """Note that Extend has been asked, and how long the next question can wait if all wishes fit.

        :param interval: seconds.
        :param requests: how many the question took.
        :param spread: share of the stretch that applies to this interval.
        """
        self._since, self._interval, self._slot = self._budget.clock(), interval, None
        self._requests, self._spread = max(requests, 1), spread
        self._budget.wish(self._number, self._requests / max(interval, SHORTEST))

    def wait(self) -> float:
        """Return the seconds after which to call this again; 0: ask now."""
        now = self._budget.clock()
        if self._slot is None:
            stretch = 1 + (self._budget.stretch() - 1) * self._spread
            left = self._since + self._interval * stretch - now
            if left > 0:
                # Other waits may end meanwhile, so that this one comes sooner.
                return min(left, max(self._interval, left / 2))
            self._slot = self._budget.slot(self._requests)
        return max(self._slot - now, 0.0)

    def leave(self) -> None:
        """Take the wish back: the wait has ended."""
        self._budget.wish(self._number, 0.0)
