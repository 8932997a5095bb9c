"""The limits of a connection, shared by all hooks, threads and event loops of a process.

Extend limits an organization, reads apart from writes apart from runs. What it allows is learnt
(:mod:`extend_provider.client.pacing.level`), so several processes share it without a setting. A
``Retry-After`` stops the category for the whole process. No lock is held while anybody waits.

(aiolimiter is bound to one event loop; pyrate-limiter brings buckets, clocks and background threads. Neither
learns.)
"""

from __future__ import annotations

import collections
import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from extend_provider.client.calls import ApiCall
from extend_provider.client.errors import TOO_MANY_REQUESTS
from extend_provider.client.pacing.flight import InFlight
from extend_provider.client.pacing.level import Learnt, Level, Rules
from extend_provider.client.pacing.turns import Turns
from extend_provider.client.settings import ExtendSettings
from extend_provider.exceptions import ExtendRateLimitError

#: What Extend counts apart (docs/api-contract.md, section 5).
Category = Literal["read", "write", "run"]

RULES: Final[Mapping[Category, Rules]] = {
    "read": Rules(),
    "write": Rules(),
    # Extend's limits of runs are per minute, from 60 on. A refusal may as well be of the second's limit of
    # writes, and a task that sends one batch learns nothing from its own count: so never below one in 5 s.
    "run": Rules(window=60.0, start=300.0, doubling=30.0, lowest=15.0),
}
#: Paths whose POST creates runs.
_RUNS: Final = frozenset({"/workflow_runs", "/workflow_runs/batch"})
#: A learnt rate is logged when it differs from the one logged before by more than this.
SAME_SHARE: Final = 0.75
#: Seconds for which nothing is sent after a 429 without ``Retry-After``.
PAUSE: Final = 0.125
#: Requests that may go at once after an idle time: of four processes that begin together, as many as the
#: smallest plan allows in a second.
BURST: Final = 2
#: Longest time that a waiting request sleeps at a stretch, in seconds; its turn may have moved by then.
LONGEST_SLEEP: Final = 1.0
#: Seconds for which a request that had to wait shows that others would, too.
JUST_NOW: Final = 2 * LONGEST_SLEEP
#: Requests that may be open at the same time, at least and at most: the latter bounds memory and is the size
#: of aiohttp's pool of connections. Eight alone would be too few for
#: 75 per second if an answer took more than 0.1 s.
LEAST_IN_FLIGHT, MOST_IN_FLIGHT = 8, 100
#: Multiple of rate × round trip that may be open, because round trips differ.
SPARE_SHARE: Final = 1.5

log = logging.getLogger(__name__)


def category_of(call: ApiCall[Any]) -> Category:
    """Return which of Extend's limits a call counts against."""
    if call.method == "GET":
        return "read"
    return "run" if call.method == "POST" and call.path in _RUNS else "write"


class ConnectionLimits:
    """The pace of each category of a connection's requests.

    :param name: of the connection, for log lines.
    :param key: what tells it from others on this machine: connections of one name can lead to several places.
    :param bound: the connection's ``requests_per_second``, which no category exceeds, and from which those
        that are limited per second start; None: no bound.
    :ivar users: how many blocks are inside of :func:`~extend_provider.client.pacing.machine.shared`.
    :ivar process: what tells this process from others that share the limits.
    :ivar looked_at: when this process has looked at what others have, in seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        *,
        key: str | None = None,
        bound: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.key = key or name
        self.bound = bound
        self.users: collections.Counter[Category] = collections.Counter()
        self.process = uuid.uuid4().hex
        self.looked_at: dict[Category, float] = {}
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: dict[Category, _Lane] = {}

    def turn(self, wanted: ApiCall[Any] | Category) -> Turn:
        """Take the next turn of a category; see :class:`Turn`."""
        category = wanted if isinstance(wanted, str) else category_of(wanted)
        with self._lock:
            lane, now = self._lane(category), self._clock()
            return Turn(self, category, lane.turns.take(now))

    def answered(self, turn: Turn) -> None:
        """Note that Extend has not refused a request, whatever else it has answered."""
        with self._lock:
            lane, now = self._lane(turn.category), self._clock()
            sent_at = now if turn.sent_at is None else turn.sent_at
            if late := lane.level.late(now, sent_at):
                lane.turns.came_late(sent_at, late)
            lane.level.admitted(now, sent_at, waited=turn.has_waited)
            self._change(lane, now)  # for those that wait already

    def refused(self, category: Category, retry_after: float | None, *, sent_at: float | None = None) -> None:
        """Note a 429: nothing of the category is sent for ``retry_after`` seconds, and less than before then.

        :param sent_at: when the request was sent; None: just now.
        """
        with self._lock:
            lane, now = self._lane(category), self._clock()
            stop = retry_after or 0.0
            counts = lane.level.refused(now, now if sent_at is None else sent_at, stop)
            if stop:
                lane.stopped_until = max(lane.stopped_until, now + stop)
            # Without a word of Extend's, a moment of our own: the window is full for now.
            lane.turns.stop(now, now + (stop or PAUSE))
            self._change(lane, now)
            news = counts and self._is_news(lane)
        if news:
            log.info(
                "Connection %s: Extend limits its %s requests; this process now sends up to %.3g per second.",
                self.name,
                category,
                lane.told_rate,
            )

    def rate(self, category: Category) -> float:
        """Return how many requests per second of a category are known to be allowed at the moment.

        Only what was tried is known: a process that asks seldom, as one that polls, keeps the careful start,
        which is the smallest plan that has a price, or what the connection says of the plan. So a share of
        this rate is little of any plan, and grows in a process that has asked for more.
        """
        with self._lock:
            return self._rate(self._lane(category))

    def is_short(self, category: Category) -> bool:
        """Return whether requests of a category had to wait just now because of a limit that is learnt.

        One that is not refused yet finds its limit itself: it may send more than those that were.
        """
        with self._lock:
            lane = self._lane(category)
            return lane.level.is_learnt and self._clock() < lane.waited_at + JUST_NOW

    def learnt(self, category: Category, *, lasting: bool = False) -> Learnt | None:
        """Return what other processes may go on with, see :meth:`Level.learnt`."""
        with self._lock:
            return self._lane(category).level.learnt(self._clock(), lasting=lasting)

    def share(self, category: Category, learnt: Learnt, *, partners: int = 0) -> None:
        """Go on with what this machine's processes have learnt, see :meth:`Level.share`."""
        with self._lock:
            lane, now = self._lane(category), self._clock()
            if not lane.level.is_learnt:
                lane.turns.take(now)  # and leave it: a burst would be more than what is left of this second
            lane.level.share(learnt, now, partners=partners)
            self._change(lane, now)
            news = self._is_news(lane)
        if news:
            log.info(
                "Connection %s: this machine's processes share the limit of %s requests. This one now sends "
                "up to %.3g per second.",
                self.name,
                category,
                lane.told_rate,
            )

    def forget(self, category: Category) -> None:
        """Begin carefully, as a new process: what was learnt is for others now."""
        with self._lock:
            lane = self._lane(category)
            lane.level = Level(RULES[category])
            self._change(lane, self._clock())

    def in_flight(self, category: Category, *, at_most: int | None = None) -> InFlight:
        """Return places for the open requests of one task on one event loop: rate × round trip, and a few."""
        bound = MOST_IN_FLIGHT if at_most is None else at_most
        return InFlight(lambda: min(self.most_in_flight(category), bound))

    def most_in_flight(self, category: Category) -> int:
        """Return how many requests of a category to have open, so that the rate is what limits."""
        with self._lock:
            lane = self._lane(category)
            enough = self._rate(lane) * lane.level.round_trip * SPARE_SHARE + LEAST_IN_FLIGHT
            return min(int(enough), MOST_IN_FLIGHT)

    def _wait(self, turn: Turn, patience: float) -> float:
        with self._lock:
            lane, now = self._lane(turn.category), self._clock()
            stopped = lane.stopped_until - now
            if stopped > patience:
                raise ExtendRateLimitError(
                    f"Extend has asked connection {self.name} to send no {turn.category} requests for "
                    f"{stopped:.0f} s more, so nothing was sent. Try again after that.",
                    status=TOO_MANY_REQUESTS,
                    retryable=True,
                    retry_after=stopped,
                )
            wait = lane.turns.use(turn.number, now)
            if wait > 0:
                turn.has_waited = True
                lane.waited_at = now
            else:
                turn.sent_at = now
            return wait

    def _give_back(self, turn: Turn) -> None:
        with self._lock:
            self._lane(turn.category).turns.give_back(turn.number)

    def _lane(self, category: Category) -> _Lane:
        lane = self._lanes.get(category)
        if lane is None:
            level = Level(RULES[category])
            turns = Turns(self._clock(), level.rate, period=level.period, burst=BURST)
            lane = self._lanes[category] = _Lane(level, turns)
        if self.bound is not None and category != "run":
            lane.level.expect(self.bound)
        self._change(lane, self._clock())
        return lane

    def _change(self, lane: _Lane, now: float) -> None:
        lane.turns.change(now, self._rate(lane), lane.level.period)

    def _is_news(self, lane: _Lane) -> bool:
        """Return whether the rate differs from the one logged last; if so, it is the one logged last."""
        rate = self._rate(lane)
        if SAME_SHARE < rate / lane.told_rate < 1 / SAME_SHARE:
            return False
        lane.told_rate = rate
        return True

    def _rate(self, lane: _Lane) -> float:
        return lane.level.rate if self.bound is None else min(lane.level.rate, self.bound)


class Turn:
    """The turn of one request.

    :ivar sent_at: when it came, by the clock of its limits; None until then.
    :ivar has_waited: whether the request had to wait for it.
    """

    __slots__ = ("_limits", "category", "has_waited", "number", "sent_at")

    def __init__(self, limits: ConnectionLimits, category: Category, number: int) -> None:
        self._limits = limits
        self.category: Category = category
        self.number = number
        self.sent_at: float | None = None
        self.has_waited = False

    def wait(self, patience: float = math.inf) -> float:
        """Return 0 once it has come, else the seconds to sleep before asking again: it may move meanwhile.

        :param patience: longest stop to wait for, in seconds.
        :raises ExtendRateLimitError: Extend has asked to send nothing for longer than that.
        """
        return min(self._limits._wait(self, patience), LONGEST_SLEEP)  # halves of one thing

    def give_back(self) -> None:
        """Leave it to another request, because this one is not sent."""
        self._limits._give_back(self)  # see above

    def end(self, status: int, retry_after: float | None) -> None:
        """Note the answer to its request: its status, and the seconds of its ``Retry-After``."""
        if status == TOO_MANY_REQUESTS:
            self._limits.refused(self.category, retry_after, sent_at=self.sent_at)
        else:
            self._limits.answered(self)


class _Lane:
    """What is known of one category."""

    __slots__ = ("level", "stopped_until", "told_rate", "turns", "waited_at")

    def __init__(self, level: Level, turns: Turns) -> None:
        self.level = level
        self.turns = turns
        self.stopped_until = float("-inf")
        self.waited_at = float("-inf")
        self.told_rate = math.inf  # what the log says


_limits: dict[tuple[str, str], ConnectionLimits] = {}
_limits_lock = threading.Lock()


def limits_of(settings: ExtendSettings) -> ConnectionLimits:
    """Return the process's limits of a connection; a changed bound holds from the next request on."""
    with _limits_lock:
        key = (settings.conn_id, settings.base_url)
        limits = _limits.get(key)
        if limits is None:
            limits = _limits[key] = ConnectionLimits(settings.conn_id, key=" ".join(key))
        limits.bound = settings.requests_per_second
        return limits


def forget_limits() -> None:
    """Forget everything that was learnt, as in a new process."""
    global _limits_lock  # after a fork, another thread of the parent may have held it
    _limits_lock = threading.Lock()
    _limits.clear()


os.register_at_fork(after_in_child=forget_limits)
