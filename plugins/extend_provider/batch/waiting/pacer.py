"""When one wait polls next, if it were alone: pure, shared by every way of waiting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

from extend_provider.batch.waiting.experience import Experience, Pace
from extend_provider.batch.waiting.timing import Timing

#: How much an interval grows while nothing changes, and shrinks when something did.
STRETCH: Final = 1.5
SHRINK: Final = 0.5
#: The next poll comes not before this share of the seconds that the runs probably still take.
AHEAD: Final = 0.5
#: Random part of an interval, so that a night's batches do not poll in step.
JITTER: Final = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What a complete poll has shown.

    :param expected: how many runs were submitted.
    :param settled: how many of them have settled.
    :param over: whether this is all of them.
    :param changed: whether the counts differ from the poll before.
    :param timing: when runs ended, if that is known.
    """

    expected: int
    settled: int
    over: bool = False
    changed: bool = False
    timing: Timing | None = None

    @property
    def unsettled(self) -> float:
        """The share of the runs that has not settled."""
        return max(1 - self.settled / self.expected, 0.0) if self.expected else 1.0


class Pacer:
    """The state between the polls of one wait that decides about the next one.

    :param shortest: lower bound of an interval, in seconds.
    :param longest: upper bound of an interval, in seconds.
    :param chance: source of numbers in [0, 1) for the jitter.
    :ivar experience: what is known of earlier batches; learns of this one. None: nothing.
    """

    def __init__(self, shortest: float, longest: float, chance: Callable[[], float]) -> None:
        self.shortest = shortest
        self.longest = longest
        self.experience: Experience | None = None
        self._chance = chance
        self._interval: float | None = None
        self._began: float | None = None
        self._polled_at: float | None = None
        self._seen: Seen | None = None
        self._has_learned = False

    def first(self, *, now: float, soonest: float, is_crowded: bool) -> float:
        """Return the seconds until the first poll.

        It comes as soon as an end could be reported. Only where polls are scarce, it waits until something
        can have happened, as far as earlier batches tell: only a poll tells which workflow this batch is of.

        :param now: when the wait begins, in seconds since the epoch.
        :param soonest: seconds before which the end of the wait cannot be reported anyway.
        :param is_crowded: whether the waits of the process wish to poll more than they may.
        """
        self._began = now
        pace = self._pace() if is_crowded else None
        delay = min(max(min(soonest, self.shortest), pace.first if pace else 0.0), self.longest)
        return delay * (1 - JITTER * self._chance())  # only earlier: nothing is reported later because of it

    def polled(self, seen: Seen, *, now: float) -> None:
        """Take in a complete poll, and learn of the first run that has ended, and of the whole batch."""
        if self._interval is not None and self._polled_at is not None and not seen.changed:
            # The other waits of the process may have stretched it.
            self._interval = max(self._interval, now - self._polled_at)
        self._seen, self._polled_at = seen, now
        if self.experience is None or seen.timing is None or (self._has_learned and not seen.over):
            return
        self.experience.learn(seen.timing, seen.settled if seen.over else 1)
        self._has_learned = True

    def failed(self) -> None:
        """Take in a failed poll, which has shown nothing new."""
        if self._seen is not None:
            self._seen = dataclasses.replace(self._seen, changed=False)

    def next(self, *, now: float, remaining: float) -> float:
        """Return the seconds until the next poll.

        :param remaining: seconds until the deadline, at which there is a poll at the latest.
        """
        self._interval = next_interval(
            self._interval,
            self._seen,
            minimum=self.shortest,
            maximum=self.longest,
            remaining=remaining,
            chance=self._chance(),
            left=self._left(now),
        )
        return self._interval

    def _pace(self) -> Pace | None:
        if self.experience is None:
            return None
        timing = self._seen.timing if self._seen else None
        return self.experience.pace(timing.workflow_id if timing else None)

    def _left(self, now: float) -> float | None:
        if self._seen is None or self._began is None:
            return seconds_left(self._seen, None, waited=0.0)
        return seconds_left(self._seen, self._pace(), waited=now - self._began)


def seconds_left(seen: Seen | None, pace: Pace | None, *, waited: float) -> float | None:
    """Return the seconds until all runs have probably settled; None if that cannot be told.

    While none has settled, quick batches before this one tell; afterwards its own runs do, as long as more
    of them settle.

    :param pace: of earlier batches of the workflow.
    :param waited: seconds since the wait began.
    """
    if seen is None:
        return None
    left = None
    if seen.settled == 0:
        left = pace.end(seen.expected) - waited if pace else None
    elif seen.changed:
        each = seen.timing.each(seen.settled) if seen.timing else None
        each = pace.each if each is None and pace else each
        left = None if each is None else (seen.expected - seen.settled) * each
    return left if left is not None and left > 0 else None


def next_interval(
    previous: float | None,
    seen: Seen | None,
    *,
    minimum: float,
    maximum: float,
    remaining: float,
    chance: float,
    left: float | None = None,
) -> float:
    """Return how long to wait before the next poll, in seconds.

    Starts short, grows while nothing changes, shrinks with every change and the more the fewer runs are left.
    If it is known how long the runs probably take: not before half of that, and not after it. Never past the
    deadline, so that the last poll happens at it.

    :param previous: the interval before this one; None at the start.
    :param seen: the last complete poll.
    :param minimum: lower bound in seconds.
    :param maximum: upper bound in seconds.
    :param remaining: seconds until the deadline.
    :param chance: a number in [0, 1) that spreads the interval by ±20 %.
    :param left: seconds until all runs have probably settled; None if that cannot be told.
    """
    if previous is None:
        interval = minimum
    elif seen is None or not seen.changed:
        interval = previous * STRETCH
    else:
        interval = min(previous * SHRINK, minimum + (maximum - minimum) * seen.unsettled)
    if left is not None:
        interval = max(min(interval, left), left * AHEAD)
    interval *= 1 + JITTER * (2 * chance - 1)
    return max(0.0, min(max(interval, minimum), maximum, remaining))
