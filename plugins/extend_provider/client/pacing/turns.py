"""The turns of one category's requests: a line in which each request has a moment, evenly apart.

After an idle time the first few may go at once, because that takes no more of a window of Extend's than if
they were apart: the one after them is where it would be.

Turns have numbers, and a number's moment is computed from the pace of now. So a request that waits already
leaves later when the pace goes down or everything has to stop, and earlier when the pace goes up.

A busy process uses a turn late and the ones after it in time, which would put too many into one window. So a
turn that has come still waits while as many were used in the last period as the pace allows. What was sent in
time and arrives late, because a connection had to be made or the process stood still, counts for longer.
"""

from __future__ import annotations

import collections
import heapq
import itertools
import math
from typing import Final

#: Seconds by which the line may be late and catch up, because a busy process wakes up late.
CATCH_UP: Final = 0.02
#: Tolerance for rounding, in turns: the pace is a quotient.
_TINY: Final = 1e-6


class Turns:
    """A line of turns. All times are seconds of one clock; nothing is saved up while nobody asks."""

    def __init__(self, now: float, rate: float, *, period: float = 1.0, burst: int = 1) -> None:
        """Begin a line.

        :param period: seconds in which no more turns are used than the pace allows; after as long without a
            turn, a burst is allowed.
        :param burst: how many turns then come at once.
        """
        self._period, self._burst = period, burst
        self._early = burst  # so many turns from the first one come at its moment
        self._interval = 1 / rate
        self._first = 0  # the number whose moment is known; those after it follow
        self._first_at = now
        self._next = 0
        self._given_back: list[int] = []
        self._used: collections.deque[float] = collections.deque()  # when, in the last period
        self._late: list[tuple[float, float]] = []  # from when until when some count for longer

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
            self._early = self._burst if late > self._period else 1
        number = self._next
        self._next += 1
        return number

    def give_back(self, number: int) -> None:
        """Leave a turn that is not used to somebody else."""
        heapq.heappush(self._given_back, number)

    def use(self, number: int, now: float) -> float:
        """Return 0 if a turn is used now, else the seconds to wait before trying again."""
        comes_at = self.moment(number)
        while self._used and self._used[0] + self._period <= now:
            self._used.popleft()
        self._late = [each for each in self._late if each[1] > now]
        late = [ends_at for begins_at, ends_at in self._late if begins_at <= now]
        surplus = len(self._used) + len(late) - math.ceil(self._period / self._interval - _TINY)
        in_burst = self._early > 1 and self._is_early(number)
        if surplus >= 0 and not in_burst:
            ends = [used + self._period for used in itertools.islice(self._used, surplus + 1)]
            comes_at = max(comes_at, sorted([*ends, *late])[surplus] if late else ends[-1])
        if comes_at > now:
            return comes_at - now
        self._used.append(now)
        return 0.0

    def came_late(self, used_at: float, seconds: float) -> None:
        """Let a turn count for longer: what was sent then may have arrived so much later."""
        ends_at = used_at + self._period
        self._late.append((ends_at, ends_at + seconds))

    def moment(self, number: int) -> float:
        """Return when a turn comes."""
        return self._first_at if self._is_early(number) else self._place_at(number)

    def _is_early(self, number: int) -> bool:
        return number - self._first < self._early

    def _place_at(self, number: int) -> float:
        return self._first_at + (number - self._first) * self._interval

    def change(self, now: float, rate: float, period: float) -> None:
        """Put the turns that have not come yet this far apart.

        :param period: as at the beginning.
        """
        self._period = period
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
