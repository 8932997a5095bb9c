"""Waiting with an inbox: when to look into it, and when to ask Extend all the same. Pure.

A look costs no request to Extend, so it is taken every few seconds, and a complete inbox ends the wait.
Invariant: a partial inbox is no listing. It ends no wait and makes no run missing; what it does not say is
asked of Extend, seldom while webhooks come, and as often as without an inbox once some are known to be lost.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from extend_provider.batch.waiting.pacer import JITTER
from extend_provider.batch.waiting.polling import Outcome, Poller, PollResult, WaitPolicy
from extend_provider.batch.waiting.progress import BatchProgress, InboxProgress
from extend_provider.security import describe_error

#: Shortest and longest time between two looks into the inbox, in seconds.
SHORTEST_LOOK: Final = 2.0
LONGEST_LOOK: Final = 15.0
#: The next look is taken after this share of the time for which nothing new has arrived, so the end of a wait
#: is noticed that much later at the most.
LOOK_SHARE: Final = 0.1
#: Seconds of processor time that a look costs in S3: the request, and each run listed (measured with s3fs;
#: on a disk it is a thirtieth).
LOOK_COST: Final = 0.005
LISTED_COST: Final = 0.0001
#: Share of a processor that the looks of all waits of a process may cost together; and the seconds to which
#: that stretches the time between two looks at most.
LOOK_BUDGET: Final = 0.25
LONGEST_STRETCH: Final = 120.0
#: Seconds without a new webhook after which Extend is polled; doubled by each poll, up to the longest.
FIRST_SILENCE: Final = 300.0
LONGEST_SILENCE: Final = 1800.0
#: Seconds after which the webhook of a settled run counts as lost.
DELIVERY_SECONDS: Final = 60.0


class InboxPoller(Poller):
    """A :class:`~extend_provider.batch.waiting.polling.Poller` that looks into an inbox between the polls.

    After a look that failed, and without any look, it polls exactly as its base class does.
    """

    def __init__(self, policy: WaitPolicy, **options: Any) -> None:
        super().__init__(policy, **options)
        self._arrived: InboxProgress | None = None
        self._began: float | None = None
        self._news_at = self._next_poll = 0.0
        self._silence = max(FIRST_SILENCE, self.policy.poll_interval)
        # How many settled runs a poll has shown although fewer had arrived, and when.
        self._owed: tuple[int, float] | None = None
        self._webhooks_are_lost = self._is_unreadable = False
        self._notes: list[str] = []
        self._waits = 1

    @property
    def shown(self) -> BatchProgress | None:
        """The counts to show: of the last look; without one, of the last complete poll."""
        return self._arrived if self._arrived is not None else self.progress

    def take_notes(self) -> list[str]:
        """Return what a person should know about the webhooks, each note once."""
        notes, self._notes = self._notes, []
        return notes

    def is_poll_due(self, now: float) -> bool:
        """Return True if Extend is to be polled now."""
        return self._arrived is None or now >= min(self._next_poll, self.policy.deadline)

    def looked(self, arrived: InboxProgress, *, now: float, waits: int = 1) -> PollResult:
        """Decide after a look: only as many settled runs as were submitted end the wait.

        :param waits: how many waits of this process look into inboxes.
        """
        self._waits = waits
        before = self._arrived
        changed = arrived != before
        self._arrived, self._is_unreadable = arrived, False
        if self._began is None:
            self._began = now
            self._next_poll = now + self._silence
        if changed:
            self._news_at = now
            if not self._webhooks_are_lost:
                self._next_poll = max(self._next_poll, now + self._silence)
            if before is not None and arrived.listed < before.listed:
                self._next_poll = now  # cleaned, because the batch has landed elsewhere
        self._check_trust(arrived, now)
        result = PollResult(Outcome.WAIT, str(arrived), delay=self._delay(now), changed=changed)
        if arrived.complete and arrived.listed == arrived.expected:
            if not arrived.in_review or self.policy.on_needs_review == "land":
                said = f"{arrived}; the webhooks of all runs have arrived"
                result = PollResult(Outcome.DONE, said, changed=True)
            elif self.policy.on_needs_review == "fail" and changed:
                self._next_poll = now  # a reviewer may have decided since; Extend knows
        return dataclasses.replace(
            result,
            progress=arrived.as_dict(),
            dashboard_url=arrived.dashboard_url,
            limit=self.policy.limit,
        )

    def unreadable(self, error: Exception) -> None:
        """Note that a look has failed; Extend is polled as without an inbox until one succeeds."""
        if not self._is_unreadable:
            self._note(f"the inbox of webhooks cannot be read, so Extend is polled: {describe_error(error)}")
        self._arrived, self._is_unreadable = None, True

    def polled(self, progress: BatchProgress, *, now: float) -> PollResult:
        """Decide after a complete poll; the next one is far off unless webhooks are lost."""
        result = super().polled(progress, now=now)
        if result.is_final or self._arrived is None:
            return result
        if progress.settled > self._arrived.settled and self._owed is None:
            self._owed = progress.settled, now
        is_short = progress.only_missing and progress.listed > 0
        is_doubtful = self._arrived.complete and self.policy.on_needs_review == "fail"
        if self._webhooks_are_lost or is_short or is_doubtful:
            self._next_poll = now + result.delay
        else:
            self._silence = min(self._silence * 2, max(LONGEST_SILENCE, self.policy.poll_interval))
            self._next_poll = now + self._silence
        return dataclasses.replace(result, delay=self._delay(now))

    def failed(self, error: Exception, *, now: float) -> PollResult:
        """Decide after a failed poll; the next one comes as soon as without an inbox."""
        if self.progress is None:
            self.progress = self._arrived
        result = super().failed(error, now=now)
        if result.is_final or self._arrived is None:
            return result
        self._next_poll = now + result.delay
        return dataclasses.replace(result, delay=self._delay(now))

    def _check_trust(self, arrived: InboxProgress, now: float) -> None:
        """Note if webhooks are lost, or of more runs than there are; polls decide from then on."""
        if self._webhooks_are_lost:
            return
        if arrived.listed > arrived.expected:
            why = f"webhooks of {arrived.listed:,} runs have arrived, and {arrived.expected:,} were submitted"
        elif self._owed is None:
            return
        else:
            settled, since = self._owed
            if arrived.settled >= settled:
                self._owed = None
                return
            if now < since + DELIVERY_SECONDS:
                return
            why = (
                f"webhooks do not arrive: {settled:,} runs had settled {now - since:,.0f} s ago, and of "
                f"{settled - arrived.settled:,} of them none has come. Check the webhook endpoint at Extend, "
                "its subscription to this workflow, and the receiver's log"
            )
        self._webhooks_are_lost = True
        self._next_poll = now
        self._note(f"{why}. Extend is polled as without webhooks.")

    def _note(self, text: str) -> None:
        self._notes.append(text)

    def _delay(self, now: float) -> float:
        """Return the seconds until the next look or poll, whichever comes first."""
        until_poll = min(self._next_poll, self.policy.deadline) - now
        if self._webhooks_are_lost or self._arrived is None or self._began is None:
            return max(until_poll, 0.0)
        look = next_look(
            self._arrived,
            running=now - self._began,
            quiet=now - self._news_at,
            waits=self._waits,
            chance=self._chance(),
        )
        return max(min(look, until_poll), 0.0)


def next_look(arrived: BatchProgress, *, running: float, quiet: float, waits: int, chance: float) -> float:
    """Return how long to wait before the next look, in seconds.

    Short at the start and while the last runs arrive, longer while many are left or nothing comes.

    :param arrived: the counts of the last look.
    :param running: seconds since the first look.
    :param quiet: seconds since something new has arrived.
    :param waits: how many waits share :data:`LOOK_BUDGET`.
    :param chance: a number in [0, 1) that spreads the interval by ±20 %.
    """
    left = 1 - arrived.settled / arrived.expected if arrived.expected else 0.0
    interval = LOOK_SHARE * max(quiet, running * max(left, 0.0))
    affordable = waits * (LOOK_COST + LISTED_COST * arrived.listed) / LOOK_BUDGET
    interval = max(min(interval, LONGEST_LOOK), SHORTEST_LOOK, min(affordable, LONGEST_STRETCH))
    return interval * (1 + JITTER * (2 * chance - 1))
