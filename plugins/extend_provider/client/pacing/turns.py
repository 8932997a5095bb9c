"""The turns of one category's requests: a line in which each request has a moment, evenly apart.

After an idle time the first few may go at once, because that takes no more of a window of Extend's than if
they were apart: the one after them is where it would be.

Turns have numbers, and a number's moment is computed from the pace of now. So a request that waits already
leaves later when the pace goes down or everything has to stop, and earlier when the pace goes up.
"""

from __future__ import annotations

import heapq
import math
from typing import Final

#: Seconds by which the line may be late and catch up, because a busy process wakes up late.
CATCH_UP: Final = 0.02


class Turns:
    """A line of turns. All times are seconds of one clock; nothing is saved up while nobody asks."""

    def __init__(self, now: float, rate: float, *, idle: float = math.inf, burst: int = 1) -> None:
        """Begin a line.

        :param idle: seconds without a turn after which a burst is allowed.
        :param burst: how many turns then come at once.
        """
        self._idle, self._burst = idle, burst
        self._early = burst  # so many turns from the first one come at its moment
        self._interval = 1 / rate
        self._first = 0  # the number whose moment is known; those after it follow
        self._first_at = now
        self._next = 0
        self._given_back: list[int] = []

    def take(self, now: float) -> int:
        """Return the number of the next free turn."""
        while self._given_back:
            number = heapq.heappop(self._given_back)
            if self.moment(number) >= now - CATCH_UP:
                return number
        # By its place in the line, also if it comes early: else a process that takes the first few slowly
        # would begin a new line, and never pay them back.
        place_at = self._place_at(self._next)
        late = now - min(CATCH_UP, self._interval) - place_at
        if late > 0:
            self._first, self._first_at = self._next, place_at + late
            self._early = self._burst if late > self._idle else 1
        number = self._next
        self._next += 1
        return number

    def give_back(self, number: int) -> None:
        """Leave a turn that is not used to somebody else."""
        heapq.heappush(self._given_back, number)

    def moment(self, number: int) -> float:
        """Return when a turn is."""
        return self._first_at if number - self._first < self._early else self._place_at(number)

    def _place_at(self, number: int) -> float:
        return self._first_at + (number - self._first) * self._interval

    def change(self, now: float, rate: float) -> None:
        """Put the turns that have not come yet this far apart."""
        if 1 / rate != self._interval:
            if self._next - self._first >= self._early:  # else the burst goes on
                self._rebase(now)
            self._interval = 1 / rate

    def stop(self, now: float, until: float) -> None:
        """Let the turns that have not come yet begin at ``until``, if that is later; a burst is over."""
        self._rebase(now)
        self._first_at = max(self._first_at, until)

    def _rebase(self, now: float) -> None:
        """Count from the first turn that has not come yet, or has not been taken."""
        if now < self._first_at or self._next == self._first:
            return
        passed = max(int((now - self._first_at) / self._interval) + 1, self._early)
        first = min(self._first + passed, self._next)
        self._first, self._first_at = first, self._place_at(first)
        self._early = 1
