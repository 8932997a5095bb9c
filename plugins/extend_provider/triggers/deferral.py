"""Waiting for runs as a task does it: until when, without a worker, resumed in time or late, and given up.

The operator that runs single files and the sensor of a batch share it. Which limit has ended a wait, and what
there is at Extend, is kept with the task while it is deferred: Airflow itself tells neither when it ends a
deferral because no triggerer has reported.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import AirflowTaskTimeout

from extend_provider.batch.attempts import AttemptMemory
from extend_provider.batch.cancellation import ON_TIMEOUT, OnTimeout, RemoteWork, cancel_from_worker
from extend_provider.batch.ownership import CancelsOnKillMixin
from extend_provider.batch.polling import Outcome, Poller, PollResult, WaitPolicy, first_deadline
from extend_provider.batch.progress import ON_NEEDS_REVIEW, BatchProgress, OnNeedsReview
from extend_provider.client import validation
from extend_provider.exceptions import ExtendBatchError, ExtendError
from extend_provider.links.dashboard import push_dashboard_url
from extend_provider.triggers.base import REPORT_GRACE_SECONDS, ExtendWaitTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Key in the task state store of what a deferred task waits for, and how.
DEFERRAL_KEY = "extend_deferral"
SILENT = (
    "The triggerer did not report in time (is one running?), or execution_timeout has passed before "
    "everything was sent. Which limit it was is not known, so nothing was cancelled: what is at Extend goes "
    "on, and a retry takes it up."
)


class WaitsForRunsMixin(CancelsOnKillMixin):
    """For an operator that waits for runs, in its worker or deferred, and takes up their end.

    :cvar left_running: what an error says of runs that go on.
    :cvar timeout_error: raised when ``timeout`` has passed.
    """

    left_running: ClassVar[str]
    timeout_error: ClassVar[type[ExtendBatchError]] = ExtendBatchError
    deferrable: bool
    on_needs_review: OnNeedsReview
    on_timeout: OnTimeout
    max_poll_errors: int | None
    timeout: float
    # Of Airflow's operators. A base class of its own would hide a sensor's __init__, which Airflow wraps.
    execution_timeout: timedelta | None
    retries: int | None
    defer: Callable[..., NoReturn]
    #: Page of the first run; a link shows it, see :mod:`extend_provider.links.dashboard`.
    dashboard_url: str | None = None

    @property
    def _work(self) -> RemoteWork:
        """What is waited for."""
        raise NotImplementedError

    def _trigger(self, policy: WaitPolicy) -> ExtendWaitTrigger:
        """Return the trigger that waits for it."""
        raise NotImplementedError

    def _conclude(self, result: PollResult) -> Any:
        """Return what the task returns, or raise, at the end of the wait."""
        raise NotImplementedError

    def _check_wait_arguments(self) -> None:
        """Refuse, when the DAG is parsed, what can be wrong with the arguments of waiting."""
        validation.flag(self.deferrable, "deferrable")
        validation.flag(self.cancel_on_kill, "cancel_on_kill")
        validation.check_literal(validation.conn_id, self.extend_conn_id)
        validation.count(self.max_poll_errors, "max_poll_errors")
        validation.check_literal(validation.choice, self.on_needs_review, "on_needs_review", ON_NEEDS_REVIEW)
        validation.choice(self.on_timeout, "on_timeout", ON_TIMEOUT)

    def _policy_from(
        self, started_at: float, poll_interval: float, missing_after: float | None = None
    ) -> WaitPolicy:
        """Return how to wait.

        :param started_at: when the wait began that ``timeout`` bounds, in seconds since the epoch.
        """
        validation.choice(self.on_needs_review, "on_needs_review", ON_NEEDS_REVIEW)
        deadline, limit = first_deadline(
            started_at,
            self.timeout,
            attempt_started_at=time.time(),
            execution_timeout=self.execution_timeout,
        )
        return WaitPolicy(
            deadline, poll_interval, self.on_needs_review, self.max_poll_errors, limit, missing_after
        )

    def _poll_with(self, poller: Poller, poll: Callable[[], BatchProgress]) -> PollResult:
        """Ask Extend once, in the worker, and decide as the trigger does."""
        try:
            progress = poll()
        except ExtendError as error:
            result = poller.failed(error, now=time.time())
            self.log.warning("%s: %s", self._work, result.message)
            return result
        return poller.polled(progress, now=time.time())

    def _defer(self, context: Context, policy: WaitPolicy) -> NoReturn:
        """Give the worker back until the trigger reports."""
        self.log.info("%s: waiting in the triggerer.", self._work)
        self._defer_to(context, self._trigger(policy))

    def _defer_to(self, context: Context, trigger: ExtendWaitTrigger) -> NoReturn:
        path, arguments = trigger.serialize()
        self._deferral(context).remember(
            {"trigger": path, "arguments": arguments, "try_number": context["ti"].try_number}
        )
        self.defer(
            trigger=trigger,
            method_name=self.execute_complete.__name__,
            # The trigger's own deadline comes first and says more than Airflow's.
            timeout=timedelta(seconds=max(trigger.policy.deadline - time.time(), 0.0) + REPORT_GRACE_SECONDS),
        )

    def _deferral(self, context: Context) -> AttemptMemory:
        return AttemptMemory(context, retries=self.retries or 0, key=DEFERRAL_KEY)

    def _deferred_to(self, context: Context) -> ExtendWaitTrigger | None:
        """Return the trigger that this attempt was deferred to, once; None if that is not known."""
        memory = self._deferral(context)
        left = memory.recall()
        if left is None:
            return None
        memory.forget()
        if left["try_number"] != context["ti"].try_number:
            return None
        module, _, name = left["trigger"].rpartition(".")
        trigger: ExtendWaitTrigger = getattr(importlib.import_module(module), name)(**left["arguments"])
        return trigger

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; before a wait is given up, late perhaps, Extend is asked once more."""
        trigger, arguments = self._deferred_to(context), next_kwargs or {}
        event = arguments.get("event")
        silent = next_method == TRIGGER_FAIL_REPR and (
            arguments.get("error") == TriggerFailureReason.TRIGGER_TIMEOUT
        )
        over = isinstance(event, Mapping) and event.get("outcome") == Outcome.TIMED_OUT
        if silent and trigger is None:
            raise ExtendBatchError(SILENT, retryable=True)
        if trigger is not None and (silent or over):
            if silent:
                self.log.warning("%s: no triggerer has reported in time; is one running?", trigger.work)
            result = asyncio.run(trigger.poll_once())
            if not result.is_final:
                self._defer_to(context, trigger)
            if silent or result.outcome not in {Outcome.TIMED_OUT, Outcome.GAVE_UP}:
                next_method, arguments = self.execute_complete.__name__, {"event": result.as_event()}
        # Not a sensor's own, which with soft_fail skips on real failures too.
        return BaseOperator.resume_execution(cast("BaseOperator", self), next_method, arguments, context)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Take up what the trigger reports."""
        result = PollResult.from_event(event)
        push_dashboard_url(self, context, result.dashboard_url)
        return self._conclude(result)

    def _give_up(self, result: PollResult) -> NoReturn:
        """Raise what the end of a wait means that has not ended well."""
        if result.outcome is not Outcome.TIMED_OUT:
            raise result.failure(str(self._work), self.left_running)
        if result.limit == "execution_timeout":
            failure = result.failure(str(self._work), self.left_running)
            raise AirflowTaskTimeout(f"execution_timeout: {failure}")
        raise self.timeout_error(result.failure(str(self._work), self._apply_on_timeout()).message)

    def _apply_on_timeout(self) -> str:
        """Cancel the runs, or not, after ``timeout``; say what became of them."""
        if self.on_timeout == "leave":
            return self.left_running
        said = f"on_timeout='cancel': {cancel_from_worker(self._work)}"
        # A sensor's base class swallows the error's text where soft_fail makes a skip of it.
        self.log.warning("%s: %s", self._work, said)
        return said
