"""Waiting for runs in a task: the deadline, the deferral, resuming in time or late, and giving up.

The operator for single files and the sensor of a batch share it. The wait's limits and its work at Extend are
stored with the deferred task: Airflow reports neither when it ends a deferral because no triggerer answered.
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
from extend_provider.batch.waiting.polling import Outcome, Poller, PollResult, WaitPolicy, first_deadline
from extend_provider.batch.waiting.progress import ON_NEEDS_REVIEW, BatchProgress, OnNeedsReview
from extend_provider.client import validation
from extend_provider.exceptions import ExtendBatchError, ExtendError
from extend_provider.links.dashboard import push_dashboard_url
from extend_provider.triggers.base import REPORT_GRACE_SECONDS, ExtendWaitTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Key in the task state store of the trigger of a deferred task.
DEFERRAL_KEY = "extend_deferral"
SILENT = (
    "The triggerer did not report in time (is one running?), or execution_timeout passed before everything "
    "was sent. It is not known which, so nothing was cancelled: work at Extend continues, and a retry waits "
    "for it."
)


class WaitsForRunsMixin(CancelsOnKillMixin):
    """For operators that wait for runs, in the worker or deferred.

    :cvar left_running: what an error says of runs that continue.
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
        """The runs that this task waits for."""
        raise NotImplementedError

    def _trigger(self, policy: WaitPolicy) -> ExtendWaitTrigger:
        """Return the trigger that waits for them."""
        raise NotImplementedError

    def _conclude(self, result: PollResult) -> Any:
        """Return what the task returns, or raise, at the end of the wait."""
        raise NotImplementedError

    def _check_wait_arguments(self) -> None:
        """Check, when the DAG is parsed, the arguments of waiting."""
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

        :param started_at: the start of the time that ``timeout`` bounds, in seconds since the epoch.
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
        """Poll Extend once, in the worker, and decide as the trigger does."""
        try:
            progress = poll()
        except ExtendError as error:
            result = poller.failed(error, now=time.time())
            self.log.warning("%s: %s", self._work, result.message)
            return result
        return poller.polled(progress, now=time.time())

    def _complete_or_defer(self, context: Context, policy: WaitPolicy) -> dict[str, Any]:
        """Complete the task if every run has settled already, as after a retry; else defer it.

        A task that completes needs no triggerer and no second process.
        """
        self.own_work(self._work, context["ti"])
        settled = asyncio.run(self._trigger(policy).settled_already())
        if settled is None:
            self._defer(context, policy)
        counts: dict[str, Any] = self.execute_complete(context, settled.as_event())
        return counts

    def _defer(self, context: Context, policy: WaitPolicy) -> NoReturn:
        """Defer the task until the trigger reports."""
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
        remembered = memory.recall()
        if remembered is None:
            return None
        memory.forget()
        if remembered["try_number"] != context["ti"].try_number:
            return None
        module, _, name = remembered["trigger"].rpartition(".")
        trigger: ExtendWaitTrigger = getattr(importlib.import_module(module), name)(**remembered["arguments"])
        return trigger

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; before the wait fails, Extend is polled once more."""
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
        """Process the event of the trigger."""
        result = PollResult.from_event(event)
        push_dashboard_url(self, context, result.dashboard_url)
        return self._conclude(result)

    def _give_up(self, result: PollResult) -> NoReturn:
        """Raise the error for a wait that failed."""
        if result.outcome is not Outcome.TIMED_OUT:
            raise result.failure(str(self._work), self.left_running)
        if result.limit == "execution_timeout":
            failure = result.failure(str(self._work), self.left_running)
            raise AirflowTaskTimeout(f"execution_timeout: {failure}")
        raise self.timeout_error(result.failure(str(self._work), self._apply_on_timeout()).message)

    def _apply_on_timeout(self) -> str:
        """Cancel the runs, or not, after ``timeout``; return what happened to them."""
        if self.on_timeout == "leave":
            return self.left_running
        said = f"on_timeout='cancel': {cancel_from_worker(self._work)}"
        # A sensor's base class drops the error's text if soft_fail turns it into a skip.
        self.log.warning("%s: %s", self._work, said)
        return said
