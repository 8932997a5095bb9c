"""What the counts of a set of runs mean, and when to poll again: pure, shared by every way of waiting.

A poking sensor, an operator that waits in its worker and the triggers decide alike. The deadline is a
wall-clock time, so that it outlives the process that set it. The end of a wait travels from a trigger to the
worker inside the event alone, because nothing else is sure to arrive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import SystemRandom
from typing import Any

from extend_provider import exceptions
from extend_provider.batch.waiting.pacer import Pacer, Seen
from extend_provider.batch.waiting.progress import BatchProgress, OnNeedsReview
from extend_provider.exceptions import ExtendBatchError, ExtendError
from extend_provider.security import describe_error

_RANDOM = SystemRandom()


class Outcome(StrEnum):
    """The outcome of a poll; all but ``WAIT`` end the wait. The values are stored in events."""

    WAIT = "wait"
    DONE = "done"
    RUNS_MISSING = "short"
    FAILED_REVIEW = "failed_review"
    TIMED_OUT = "timed_out"
    GAVE_UP = "gave_up"


@dataclasses.dataclass(frozen=True, slots=True)
class WaitPolicy:
    """How to wait. All of it is plain JSON, so that it travels with a trigger.

    :param deadline: when waiting ends, in seconds since the epoch.
    :param poll_interval: longest time between two polls, in seconds, as long as the polls of all waits of the
        process fit the connection's rate, see :mod:`extend_provider.batch.waiting.budget`.
    :param on_needs_review: policy for runs that wait for a reviewer.
    :param max_poll_errors: how many failed polls in a row are tolerated; None: any number until the deadline.
    :param limit: the name of the argument that set the deadline.
    :param missing_after: seconds after which runs that are not listed count as gone, if all others have
        settled, nothing has changed since, and some are listed; None: never, they are waited for until the
        deadline.
    :param by_webhooks: whether webhooks may end the wait, where the connection has an inbox for them.
    """

    deadline: float
    poll_interval: float
    on_needs_review: OnNeedsReview = "land"
    max_poll_errors: int | None = None
    limit: str = "timeout"
    missing_after: float | None = None
    by_webhooks: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the policy as keyword arguments; releases before webhooks read all but one of them."""
        arguments = dataclasses.asdict(self)
        if self.by_webhooks:
            del arguments["by_webhooks"]
        return arguments

    @property
    def shortest_interval(self) -> float:
        """Shortest time between two polls, in seconds: a twelfth of the longest, but at least one second."""
        return min(self.poll_interval, max(1.0, self.poll_interval / 12))


def first_deadline(
    started_at: float, timeout: float, *, attempt_started_at: float, execution_timeout: timedelta | None
) -> tuple[float, str]:
    """Return when waiting ends, in seconds since the epoch, and the name of the argument that says so.

    ``execution_timeout`` bounds one attempt, and Airflow itself does not apply it to a deferred task.

    :param started_at: when the first attempt began to wait, in seconds since the epoch.
    :param timeout: seconds that all attempts together may wait.
    :param attempt_started_at: when this attempt began, in seconds since the epoch.
    """
    deadlines = [(started_at + timeout, "timeout")]
    if execution_timeout is not None:
        deadlines.append((attempt_started_at + execution_timeout.total_seconds(), "execution_timeout"))
    return min(deadlines)


@dataclasses.dataclass(frozen=True, slots=True)
class PollResult:
    """The result of one poll: continue to wait, or how the wait ended.

    :param message: why, for a person; the subject ("Batch …") is the caller's to put before it.
    :param progress: counts of the last complete poll, see :meth:`BatchProgress.as_dict`; None without one.
    :param dashboard_url: page of the first run listed.
    :param limit: the name of the argument that set the deadline.
    :param error: the facts of the error that ended the wait.
    :param runs: the runs waited for, where they are few enough to be named one by one.
    :param batch_id: the batch waited for.
    :param policy: how it was waited for, as keyword arguments of :class:`WaitPolicy`.
    :param delay: seconds until the next poll; 0 when the wait has ended.
    :param changed: whether there is news to report.
    """

    outcome: Outcome
    message: str
    progress: dict[str, Any] | None = None
    dashboard_url: str | None = None
    limit: str = "timeout"
    error: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    batch_id: str | None = None
    policy: dict[str, Any] | None = None
    delay: float = dataclasses.field(default=0.0, compare=False)
    changed: bool = dataclasses.field(default=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Return True if the wait has ended."""
        return self.outcome is not Outcome.WAIT

    def as_event(self) -> dict[str, Any]:
        """Return the payload of a trigger's event: plain JSON, without what concerns the next poll."""
        payload = {**dataclasses.asdict(self), "outcome": self.outcome.value}
        del payload["delay"], payload["changed"]
        return payload

    @classmethod
    def from_event(cls, event: Any) -> PollResult:
        """Read back what :meth:`as_event` wrote.

        :raises ExtendError: when it is not that, e.g. because the trigger ended without an event.
        """
        try:
            return cls(**{**event, "outcome": Outcome(event["outcome"])})
        except (TypeError, KeyError, ValueError):
            raise ExtendError(
                "The trigger ended without an event that says how the wait ended; see its log. "
                "Nothing was cancelled at Extend; clear this task to wait again.",
                retryable=True,
            ) from None

    def failure(self, subject: str, consequence: str) -> ExtendError:
        """Return the error to raise: of the type that ended the wait, else :class:`ExtendBatchError`.

        :param subject: what was waited for, e.g. ``Batch batch_1``.
        :param consequence: what happened to the remote work, and what to do next.
        """
        message = f"{subject}: {self.message} {consequence}"
        if self.error is None:
            return ExtendBatchError(message)
        facts = dict(self.error)
        kind = getattr(exceptions, facts.pop("type"), ExtendError)
        return kind(message, **facts) if issubclass(kind, ExtendError) else ExtendError(message, **facts)


def decide(
    progress: BatchProgress, policy: WaitPolicy, *, now: float, unchanged_for: float = 0.0
) -> PollResult:
    """Decide what the counts mean. What has settled is done even when the deadline has passed.

    :param progress: the counts of one complete poll.
    :param now: the present, in seconds since the epoch.
    :param unchanged_for: seconds for which every poll has shown these counts.
    """
    waits_for_review = policy.on_needs_review == "wait" and progress.in_review > 0
    if progress.complete and not waits_for_review:
        if policy.on_needs_review == "fail" and progress.in_review:
            return PollResult(
                Outcome.FAILED_REVIEW,
                f"{progress}. on_needs_review='fail' accepts no runs in review; decide on them in Extend's "
                "dashboard and clear this task, or use 'land' or 'wait'.",
            )
        return PollResult(Outcome.DONE, str(progress))
    # An empty list is no evidence: a wrong id, or another workspace's connection, gets one too.
    overdue = policy.missing_after is not None and unchanged_for >= policy.missing_after
    if overdue and progress.listed and progress.only_missing and not waits_for_review:
        return PollResult(
            Outcome.RUNS_MISSING, f"{progress}. Nothing has changed for {unchanged_for:,.0f} s."
        )
    if now >= policy.deadline:
        return timed_out(progress, policy.deadline)
    return PollResult(
        Outcome.WAIT, f"{progress}; waiting for the reviewers" if waits_for_review else str(progress)
    )


def timed_out(progress: BatchProgress | None, deadline: float, note: str = "") -> PollResult:
    """Return the result that the deadline (seconds since the epoch) has passed.

    :param progress: the counts of the last complete poll; None without one.
    :param note: an addition to the message, with a leading space.
    """
    moment = datetime.fromtimestamp(deadline, tz=UTC).isoformat(timespec="seconds")
    known = str(progress) if progress else "nothing known of the runs"
    if progress is not None and not progress.listed:
        note += (
            " Not one run was ever listed: check the id, and that the connection is for the same workspace."
        )
    return PollResult(Outcome.TIMED_OUT, f"{known} at the deadline ({moment}).{note}")


class Poller:
    """The state between polls: turns each complete or failed poll into a :class:`PollResult`.

    :param policy: how to wait.
    :param chance: source of numbers in [0, 1) for the jitter.
    :ivar progress: the counts of the last complete poll; a failed poll does not change them.
    :ivar pacer: decides when the next poll is due.
    """

    def __init__(self, policy: WaitPolicy, *, chance: Callable[[], float] = _RANDOM.random) -> None:
        self.policy = policy
        self.progress: BatchProgress | None = None
        self.pacer = Pacer(policy.shortest_interval, policy.poll_interval, chance)
        self._chance = chance
        self._errors = 0
        self._unchanged_since: float | None = None

    def first_delay(self, *, now: float, soonest: float, is_crowded: bool) -> float:
        """Return the seconds until the first poll, which is at the deadline at the latest.

        :param soonest: seconds before which the end of the wait cannot be reported anyway.
        :param is_crowded: whether the waits of the process wish to poll more than they may.
        """
        delay = self.pacer.first(now=now, soonest=soonest, is_crowded=is_crowded)
        return max(min(delay, self.policy.deadline - now), 0.0)

    def polled(self, progress: BatchProgress, *, now: float) -> PollResult:
        """Decide after a complete poll."""
        changed = progress != self.progress
        self.progress, self._errors = progress, 0
        self.pacer.polled(
            Seen(progress.expected, progress.settled, progress.complete, changed, progress.timing), now=now
        )
        if changed or self._unchanged_since is None:
            self._unchanged_since = now
        result = decide(progress, self.policy, now=now, unchanged_for=now - self._unchanged_since)
        return self._complete(result, now=now, changed=changed)

    def failed(self, error: Exception, *, now: float) -> PollResult:
        """Decide after a failed poll: a transient error continues the wait, any other error ends it."""
        self._errors += 1
        self._unchanged_since = None
        self.pacer.failed()
        tolerated = self.policy.max_poll_errors
        if not getattr(error, "retryable", False) or (tolerated is not None and self._errors > tolerated):
            return self.give_up(error)
        said = describe_error(error)
        if now < self.policy.deadline:
            text = f"poll failed ({self._errors} in a row), continuing to wait: {said}"
            return self._complete(PollResult(Outcome.WAIT, text), now=now)
        result = timed_out(self.progress, self.policy.deadline, f" The last poll failed: {said}.")
        return self._complete(result)

    def give_up(self, error: Exception) -> PollResult:
        """Return the result of a wait that cannot continue."""
        cause = error.message if isinstance(error, ExtendError) else describe_error(error)
        times = f"{self._errors} times in a row, at last" if self._errors > 1 else "for good"
        text = f"asking for the runs' status failed {times}: {cause}"
        return self._complete(PollResult(Outcome.GAVE_UP, text, error=_facts(error)))

    def _complete(self, result: PollResult, *, now: float = 0.0, changed: bool = False) -> PollResult:
        """Add what this wait knows: the counts, and the delay until the next poll."""
        delay = 0.0
        if not result.is_final:
            delay = self.pacer.next(now=now, remaining=self.policy.deadline - now)
        return dataclasses.replace(
            result,
            delay=delay,
            changed=changed,
            progress=self.progress.as_dict() if self.progress else None,
            dashboard_url=self.progress.dashboard_url if self.progress else None,
            limit=self.policy.limit,
        )


def _facts(error: Exception) -> dict[str, Any]:
    """Return what is needed to raise the same error elsewhere, apart from its text."""
    if not isinstance(error, ExtendError):
        return {"type": ExtendError.__name__}
    return {
        "type": type(error).__name__,
        "status": error.status,
        "code": error.code,
        "retryable": error.retryable,
        "request_id": error.request_id,
    }
