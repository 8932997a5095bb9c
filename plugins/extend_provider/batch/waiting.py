"""Waiting for runs to settle: the state between looks, and the record of how a wait ended.

Pure, and the same for a poking sensor, an operator that waits in its worker, and the triggers. A wait's end
travels from a trigger to the worker inside the event alone, because nothing else is sure to arrive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from random import SystemRandom
from typing import Any

from extend_provider import exceptions
from extend_provider.batch.polling import (
    BatchProgress,
    Decision,
    OnNeedsReview,
    Outcome,
    decide,
    next_interval,
    timed_out,
)
from extend_provider.exceptions import ExtendBatchError, ExtendError
from extend_provider.security import describe_error

#: Where the jitter comes from.
CHANCE = SystemRandom().random


@dataclasses.dataclass(frozen=True, slots=True)
class WaitPolicy:
    """How to wait. All of it is plain JSON, so that it travels with a trigger.

    :param deadline: when waiting ends, in seconds since the epoch.
    :param poll_interval: longest time between two looks, in seconds.
    :param on_needs_review: policy for runs that wait for a reviewer.
    :param max_poll_errors: how many failed looks in a row are tolerated; None: any number until the deadline.
    :param limit: the name of the argument that set the deadline.
    :param missing_after: seconds after which runs that are not listed count as gone, if all others have
        settled, nothing has changed since, and some are listed; None: never, they are waited for until the
        deadline.
    """

    deadline: float
    poll_interval: float
    on_needs_review: OnNeedsReview = "land"
    max_poll_errors: int | None = None
    limit: str = "timeout"
    missing_after: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the policy as keyword arguments."""
        return dataclasses.asdict(self)

    @property
    def shortest_interval(self) -> float:
        """Shortest time between two looks, in seconds: a twelfth of the longest, but at least one second."""
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
class Ended:
    """How a wait ended, in plain JSON values: what a trigger's event carries.

    :param outcome: any outcome but ``WAIT``.
    :param message: why, for a person.
    :param progress: counts of the last complete look, see :meth:`BatchProgress.as_dict`; None without one.
    :param dashboard_url: page of the first run listed.
    :param limit: the name of the argument that set the deadline.
    :param error: the facts of the error that ended the wait.
    :param runs: the runs waited for, where they are few enough to be told one by one.
    :param batch_id: the batch waited for.
    :param policy: how it was waited for, as keyword arguments of :class:`WaitPolicy`.
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

    def as_event(self) -> dict[str, Any]:
        """Return the payload of a trigger's event."""
        return {**dataclasses.asdict(self), "outcome": self.outcome.value}

    @classmethod
    def from_event(cls, event: Any) -> Ended:
        """Read back what :meth:`as_event` wrote.

        :raises ExtendError: when it is not that, e.g. because the trigger ended without an event.
        """
        try:
            return cls(**{**event, "outcome": Outcome(event["outcome"])})
        except (TypeError, KeyError, ValueError):
            raise ExtendError(
                "The trigger ended without saying how the wait went; its log may tell why. Nothing was "
                "cancelled at Extend; clear this task to wait again.",
                retryable=True,
            ) from None

    def failure(self, subject: str, fate: str) -> ExtendError:
        """Return the error to raise: of the type that ended the wait, or a verdict on the runs.

        :param subject: what was waited for, e.g. ``Batch batch_1``.
        :param fate: what became of the remote work, and what to do next.
        """
        message = f"{subject}: {self.message} {fate}"
        if self.error is None:
            return ExtendBatchError(message)
        facts = dict(self.error)
        kind = getattr(exceptions, facts.pop("type"), ExtendError)
        return kind(message, **facts) if issubclass(kind, ExtendError) else ExtendError(message, **facts)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """What follows one look.

    :param decision: go on waiting, or how the wait ended.
    :param delay: seconds until the next look; 0 when the wait has ended.
    :param changed: whether there is news to tell.
    :param ended: the record of the end; None while waiting.
    """

    decision: Decision
    delay: float
    changed: bool
    ended: Ended | None


class Wait:
    """Turns looks and failed looks into steps.

    :param policy: how to wait.
    :param chance: source of numbers in [0, 1) for the jitter.
    """

    def __init__(self, policy: WaitPolicy, *, chance: Callable[[], float] = CHANCE) -> None:
        self.policy = policy
        self.progress: BatchProgress | None = None
        self._chance = chance
        self._interval: float | None = None
        self._errors = 0
        self._unchanged_since: float | None = None

    def seen(self, progress: BatchProgress, *, now: float) -> Step:
        """Decide after a complete look."""
        changed = progress != self.progress
        self.progress, self._errors = progress, 0
        if changed or self._unchanged_since is None:
            self._unchanged_since = now
        decision = decide(
            progress,
            self.policy.on_needs_review,
            now=now,
            deadline=self.policy.deadline,
            unchanged_for=now - self._unchanged_since,
            missing_after=self.policy.missing_after,
        )
        return self._step(decision, progress, changed=changed, now=now)

    def failed(self, error: Exception, *, now: float) -> Step:
        """Decide after a look that raised: what may pass by itself is waited out, the rest ends the wait.

        The counts of earlier looks stay; how far the broken look came says nothing.
        """
        self._errors += 1
        self._unchanged_since = None
        tolerated = self.policy.max_poll_errors
        if not getattr(error, "retryable", False) or (tolerated is not None and self._errors > tolerated):
            return self._step(self._gave_up(error), None, changed=False, now=now, error=error)
        if now < self.policy.deadline:
            text = f"look failed ({self._errors} in a row), waiting goes on: {describe_error(error)}"
            return self._step(Decision(Outcome.WAIT, text), None, changed=False, now=now)
        decision = timed_out(
            self.progress, self.policy.deadline, f" The last look failed: {describe_error(error)}."
        )
        return self._step(decision, None, changed=False, now=now)

    def broken(self, error: Exception) -> Ended:
        """Return the end of a wait that cannot go on at all."""
        return self._ended(self._gave_up(error), error)

    def _gave_up(self, error: Exception) -> Decision:
        cause = error.message if isinstance(error, ExtendError) else describe_error(error)
        times = f"{self._errors} times in a row, at last" if self._errors > 1 else "for good"
        return Decision(Outcome.GAVE_UP, f"asking for the runs' status failed {times}: {cause}")

    def _step(
        self,
        decision: Decision,
        progress: BatchProgress | None,
        *,
        changed: bool,
        now: float,
        error: Exception | None = None,
    ) -> Step:
        if decision.outcome is not Outcome.WAIT:
            return Step(decision, 0.0, changed, self._ended(decision, error))
        self._interval = next_interval(
            self._interval,
            progress,
            changed=changed,
            minimum=self.policy.shortest_interval,
            maximum=self.policy.poll_interval,
            remaining=self.policy.deadline - now,
            chance=self._chance(),
        )
        return Step(decision, self._interval, changed, ended=None)

    def _ended(self, decision: Decision, error: Exception | None) -> Ended:
        return Ended(
            outcome=decision.outcome,
            message=decision.message,
            progress=self.progress.as_dict() if self.progress else None,
            dashboard_url=self.progress.dashboard_url if self.progress else None,
            limit=self.policy.limit,
            error=_facts(error) if error else None,
        )


def _facts(error: Exception) -> dict[str, Any]:
    """What is needed to raise the same error elsewhere, apart from its text."""
    if not isinstance(error, ExtendError):
        return {"type": ExtendError.__name__}
    return {
        "type": type(error).__name__,
        "status": error.status,
        "code": error.code,
        "retryable": error.retryable,
        "request_id": error.request_id,
    }
