"""How many requests of one category a process may send: decided from Extend's answers, without clock or I/O.

Extend counts requests per second, or per minute, over all processes of an organization, and tells nobody how
many are left. So each process keeps a *level*: whole requests in one :attr:`Level.period`, which is a little
longer than the window in which Extend counts: by as much as the times that requests take differ. Because
every process repeats the same number in each period, no window of Extend's has more of them than the levels'
sum, however the processes' moments fall. (A rate of two and a half per second would have two in one window
and three in the next, and four such processes would be refused again and again at nine tenths of the limit.)

The law is additive increase and gentle decrease with a remembered ceiling:

* Until the first refusal the level doubles in :attr:`Rules.doubling`, as long as requests have to wait for
  their turns. The first refusal takes it to what Extend has admitted within one period.
* After that it holds, and now and then it goes up by one request; while nothing is refused, by twice as many
  in each round. A refusal takes it back to what held before the step. The holds get longer with each attempt
  that fails, until an attempt costs no more than :data:`PROBE_SHARE` and :data:`STOP_SHARE`.
* A refusal of a level that had held is chance, once: a request that came late on its way. Each one soon after
  another takes it to what Extend has admitted within one period, at least to half of it and at most to what
  :data:`CUT` leaves; by that, one refusal takes no more than :data:`DEEPEST_CUT`. (With windows that begin on
  the second, the first refusal may come after twice the limit; the next one, after a stop, shows it.)

Several refusals of the same moment count once. Everybody gains one request per attempt, and a process with
many requests is refused more often than one with few: so several processes approach equal shares.
"""

from __future__ import annotations

import collections
import dataclasses
import random
from collections.abc import Callable
from typing import Final

import msgspec

#: How much longer the period is than Extend's window, at least and at most, as a share of it.
LEAST_STRETCH, MOST_STRETCH = 0.02, 0.1
#: By how many times their spread two requests may come closer to each other on their way.
SPREADS: Final = 4.0
#: Round trips whose mean deviation is their spread.
SPREAD_TRIPS: Final = 32
#: Longest time by which a request counts as late, in periods.
MOST_LATE: Final = 0.5
#: Refused share of the requests that attempts at a higher level may cost.
PROBE_SHARE: Final = 0.008
#: Share of the time for which attempts may make this process stop, because of ``Retry-After``.
STOP_SHARE: Final = 0.03
#: Shortest and longest hold between two attempts, in periods.
SHORTEST_HOLD, LONGEST_HOLD = 4.0, 600.0
#: Share that remains at most of a level that had held, at the first refusal soon after another; its square
#: at the second, etc.
CUT: Final = 0.95
#: Most that a refusal takes of such a level: a share of it, or so many requests of a small level. Otherwise
#: the last of several refusals, of a level just above the limit, would take the most.
DEEPEST_CUT: Final = 0.1
DEEPEST_SMALL_CUT: Final = 2.0
#: Longest hold, in periods, on account of :data:`PROBE_SHARE`. A process with a small level would otherwise
#: not notice for minutes that other processes are done.
LONGEST_FOR_PROBES: Final = 50.0
#: Refusals that an attempt costs beside processes that share. The first is usually another's, to which it is
#: chance, and the attempt goes on. What a partner is done with is shared without an attempt.
BESIDE_PARTNERS: Final = 2.0
#: Periods, and requests, after which refusals are forgiven: one of so many requests may be chance.
FORGIVEN, FORGIVEN_REQUESTS = 4.0, 100.0
#: Periods between two steps up, each of which has to hold. It is longer than other processes usually stop
#: after a refusal: while they send nothing, a level that is too high is not refused.
ROUND: Final = 4.0
#: Steps of one request that must hold before they grow.
SMALL_STEPS: Final = 3
#: Failed attempts that the first refusal counts for: what it teaches is near the limit already.
FIRST_FAILURES: Final = 5
#: Failed attempts that count for the length of a hold.
MOST_FAILURES: Final = 10
_LONG_AGO: Final = -1e9


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """What is known of a category beforehand.

    :param window: seconds in which Extend counts its requests.
    :param start: level before anything is known.
    :param doubling: seconds in which the level doubles until the first refusal.
    :param lowest: level below which it never goes: a server that refuses everything for a while is asked
        every two seconds, so that tasks notice when it answers again, and give up in time if it does not.
    """

    window: float = 1.0
    start: float = 10.0
    doubling: float = 0.25
    lowest: float = 0.5


class Learnt(msgspec.Struct, frozen=True):
    """What a process has learnt of a limit, for others to go on with.

    :param level: requests in one period that have held.
    :param failures: see :data:`MOST_FAILURES`.
    :param step_in: seconds until the next attempt at a higher level.
    """

    level: float
    failures: int
    step_in: float


class Level:
    """The level of one category, and what the next decision needs. All times are seconds of one clock.

    :param chance: uniform in [0, 1); processes that began together must not try together.
    :ivar round_trip: smoothed seconds between a request and its answer; 0 until there is one.
    :ivar period: seconds in which one level of requests is sent.
    :ivar is_learnt: whether Extend has refused anything yet.
    """

    def __init__(self, rules: Rules, *, chance: Callable[[], float] = random.random) -> None:
        self.rules = rules
        self.round_trip = 0.0
        self.period = rules.window * (1 + LEAST_STRETCH)
        self.is_learnt = False
        self._chance = chance
        self._spread, self._trips = 0.0, 0
        self._connected_at: float | None = None
        self._level = rules.start
        self._held = rules.start
        self._step, self._steps = 1.0, 0
        self._next_step_at = _LONG_AGO
        self._learnt_at = self._cut_at = self._settled_at = _LONG_AGO
        self._failures = 0
        self._probe_cost = 1.0
        self._strikes = 0
        self._admitted: collections.deque[float] = collections.deque()

    @property
    def whole(self) -> float:
        """The level in whole requests; below one, a share of a request."""
        return float(int(self._level)) if self._level >= 1 else self._level

    @property
    def rate(self) -> float:
        """Requests per second that are allowed."""
        return self.whole / self.period

    def expect(self, rate: float) -> None:
        """Start from a higher rate, which a person expects; it means nothing after the first refusal."""
        if not self.is_learnt:
            self._level = self._held = max(self._level, rate * self.period)

    def learnt(self, now: float, *, lasting: bool = False) -> Learnt | None:
        """Return what other processes may go on with; None if Extend has refused nothing yet.

        :param lasting: None also if the first refusal is so recent that it may say little: a process with a
            few requests, refused because of what others send, has a level for a few.
        """
        if not self.is_learnt or (lasting and now < self._learnt_at + ROUND * self.period):
            return None
        return Learnt(self._held, self._failures, max(self._next_step_at - now, 0.0))

    def share(self, learnt: Learnt, now: float, *, partners: int = 0) -> None:
        """Go on with what this machine's processes have learnt; one that has learnt itself, with its part.

        :param partners: how many processes share with this one.
        """
        self._probe_cost = BESIDE_PARTNERS if partners else 1.0
        if self.is_learnt:
            more = max(learnt.level, self.rules.lowest) - self._held
            self._level += more
            self._held += more
            self._learnt_at = _LONG_AGO if more > 0 else self._learnt_at
            return
        self.is_learnt = True
        self._level = self._held = max(learnt.level, self.rules.lowest)
        self._failures = learnt.failures
        self._next_step_at = now + learnt.step_in

    def admitted(self, now: float, sent_at: float, *, waited: bool) -> None:
        """Note a request that Extend has not refused.

        :param waited: whether it had to wait for its turn; only then is a higher level of any use.
        """
        self._took(now, sent_at)
        self._admitted.append(sent_at)
        while self._admitted[0] <= sent_at - self.period:
            self._admitted.popleft()
        if not waited or sent_at <= self._cut_at:
            return
        if not self.is_learnt:
            self._fit_period()
            doubling = max(self.rules.doubling, 4 * self.round_trip)
            self._level = self._held = self._level * 2 ** (1 / (max(self.rate, 1.0) * doubling))
        elif now >= self._next_step_at:
            self._step_up(now)

    def _took(self, now: float, sent_at: float) -> None:
        """Note a round trip. Of those that a connection had to be made for, only the first one is of use."""
        trip = now - sent_at
        if self._connected_at is None:
            self._connected_at, self.round_trip = now, trip
        elif sent_at >= self._connected_at:
            self.round_trip = self.round_trip if self._trips else trip
            self._trips = min(self._trips + 1, SPREAD_TRIPS)
            self._spread += (abs(trip - self.round_trip) - self._spread) / self._trips
            self.round_trip += (trip - self.round_trip) / 8

    def late(self, now: float, sent_at: float) -> float:
        """Return the seconds by which an answered request may have arrived late; 0 if it makes no difference.

        What is sent before the first answer waits for its connection, and a process may stand still with a
        request. One that takes much longer has waited at Extend.
        """
        is_connected = self._connected_at is not None and sent_at >= self._connected_at
        late = now - sent_at - (self.round_trip if is_connected else 0.0)
        return min(late, MOST_LATE * self.period) if late > self.period - self.rules.window else 0.0

    def _fit_period(self) -> None:
        """Fit the period to how much round trips differ: only with the level, so that requests stay even."""
        share = SPREADS * self._spread / self.rules.window
        self.period = self.rules.window * (1 + min(max(share, LEAST_STRETCH), MOST_STRETCH))

    def _step_up(self, now: float) -> None:
        self._fit_period()
        if self._level > self._held:
            self._failures = max(self._failures - 1, 0)
        self._held, self._strikes = self._level, 0
        if self._level < 1:
            self._level = min(1.0, 2 * self._level)
        else:
            self._steps += 1
            self._step = 1.0 if self._steps <= SMALL_STEPS else min(2 * self._step, max(1.0, self._level / 2))
            self._level += int(self._step)
        self._next_step_at = now + ROUND * self.period + self.round_trip

    def refused(self, now: float, sent_at: float, stop: float) -> bool:
        """Note a refused request; return whether it counts: others may have been on their way with it.

        :param stop: seconds for which nothing of the category is sent now.
        """
        if sent_at <= self._settled_at:
            return False
        if now > self._settled_at + max(FORGIVEN, FORGIVEN_REQUESTS / self._level) * self.period:
            self._strikes = 0
        self._fit_period()
        recent = max(1.0, sum(1 for moment in self._admitted if moment > sent_at - self.period))
        if not self.is_learnt:
            self._level = min(self._level, recent)
            self.is_learnt = True
            self._learnt_at = now
            self._failures = FIRST_FAILURES - 1
            self._strikes = 1
        elif self._level > self._held:
            self._level = self._held
        else:
            self._strikes += 1
            if self._strikes > 1:
                deepest = max(self._level * DEEPEST_CUT, DEEPEST_SMALL_CUT)
                cut = min(self._level * (1 - CUT ** (self._strikes - 1)), deepest)
                self._level = max(min(recent, self._level - cut, self.whole - 1), self._level / 2)
        self._level = self._held = max(self._level, self.rules.lowest)
        self._failures = min(self._failures + 1, MOST_FAILURES)
        self._step, self._steps = 1.0, 0
        self._cut_at = now
        self._settled_at = now + max(stop, self.period)
        self._next_step_at = now + stop + self._hold(stop) * (0.75 + self._chance() / 2)
        return True

    def _hold(self, stop: float) -> float:
        """Return the seconds until the next attempt at a higher level."""
        period = self.period
        probes = self._probe_cost * min(1 / (PROBE_SHARE * self.rate), LONGEST_FOR_PROBES * period)
        cheap = max(probes, stop / STOP_SHARE)
        eager = SHORTEST_HOLD * period * 2.0 ** (self._failures - 1)
        return min(max(SHORTEST_HOLD * period, min(cheap, eager)), LONGEST_HOLD * period)
