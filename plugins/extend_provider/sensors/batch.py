"""Waits until every run of a batch has settled."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseSensorOperator, PokeReturnValue, XComArg
from airflow.sdk.exceptions import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralTimeout,
)

from extend_provider import validation
from extend_provider.attempts import AttemptMemory
from extend_provider.batch_progress import ON_NEEDS_REVIEW, BatchProgress, OnNeedsReview, Outcome, RunCounter
from extend_provider.cancellation import ON_TIMEOUT, OnTimeout, RemoteWork, cancel_from_worker
from extend_provider.exceptions import ExtendBatchError, ExtendError
from extend_provider.kill import CancelsOnKillMixin
from extend_provider.links.dashboard import ExtendDashboardLink, push_dashboard_url
from extend_provider.triggers.base import PROGRESS_KEY, REPORT_GRACE_SECONDS
from extend_provider.triggers.batch import ExtendBatchTrigger
from extend_provider.waiting import Ended, Step, Wait, WaitPolicy, first_deadline

if TYPE_CHECKING:
    from airflow.sdk import Context

    from extend_provider.hooks.extend import ExtendHook

FATE = (
    "Nothing was cancelled: the batch goes on at Extend. Clear this task to wait for it again; the batch's "
    "id comes from upstream, nothing is submitted a second time."
)
#: Key in the task state store under which the attempts of one task instance share when the wait began.
WAIT_KEY = "extend_batch_wait"


class ExtendBatchTimeoutError(ExtendBatchError, AirflowSensorTimeout):
    """The deadline has passed. To Airflow a sensor's timeout: not retried, and a skip with ``soft_fail``."""


class ExtendBatchSensor(CancelsOnKillMixin, BaseSensorOperator):
    """Waits until as many runs as were submitted are listed and every one has settled.

    Returns the counts: ``{"summary", "expected", "listed", "settled", "by_status": {status: number}}``. The
    same dict is the XCom ``progress`` while the task waits, deferred or not.

    ``timeout`` counts from the first attempt on: a retry goes on with what is left, clearing the task starts
    anew. ``soft_fail`` turns a passed ``timeout`` into a skip and nothing else. ``exponential_backoff`` and
    ``max_wait`` have no say: the interval between two looks adapts itself, up to ``poke_interval``.

    .. code-block:: python

        submit = ExtendSubmitBatchOperator(task_id="submit", workflow_id="workflow_…", inputs=[…])
        ExtendBatchSensor(task_id="wait", batch_id=submit.output, run_count=submit.output["run_count"])

    :param batch_id: the batch; None together with ``run_count`` 0 (nothing was submitted) succeeds at once.
    :param run_count: how many runs were submitted.
    :param on_needs_review: what a run that waits for a human reviewer means: ``land`` counts it as settled,
        ``wait`` goes on until the reviewer has decided, ``fail`` lets the rest settle and fails then.
    :param on_timeout: what becomes of the batch when ``timeout`` has passed: ``leave`` lets it go on,
        ``cancel`` cancels the runs that have not settled. ``execution_timeout`` ends an attempt and cancels
        nothing.
    :param cancel_on_kill: cancel the runs that have not settled when the task is marked failed or success, or
        its DAG run is deleted, while it waits. Clearing it, and restarts of Airflow, never cancel anything.
    :param deferrable: wait in the triggerer, without a worker slot; False: as ``mode`` says.
    :param max_poll_errors: how many failed looks in a row are tolerated if they may pass by themselves (rate
        limit, server fault, no connection); None: any number until the deadline. Others fail at once. With
        ``mode="reschedule"`` each look is a process of its own, and failures are not counted.
    :param extend_conn_id: connection to Extend.
    :raises ExtendBatchTimeoutError: the deadline has passed.
    :raises ExtendBatchError: ``on_needs_review="fail"`` and runs are in review.
    :raises ExtendError: asking Extend failed for good, e.g. because of a wrong API key.
    """

    template_fields: Sequence[str] = ("batch_id", "run_count", "on_needs_review", "extend_conn_id")
    operator_extra_links = (ExtendDashboardLink(),)
    #: Where others that wait for the same batch are marked; a subclass that shares its batch says so.
    followers: str | None = None

    def __init__(
        self,
        *,
        batch_id: str | XComArg | None,
        run_count: int | str | XComArg,
        on_needs_review: OnNeedsReview = "land",
        on_timeout: OnTimeout = "leave",
        cancel_on_kill: bool = True,
        deferrable: bool = True,
        max_poll_errors: int | None = None,
        extend_conn_id: str = "extend_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.run_count = run_count
        self.on_needs_review = on_needs_review
        self.on_timeout = on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.deferrable = deferrable
        self.max_poll_errors = max_poll_errors
        self.extend_conn_id = extend_conn_id
        self.dashboard_url: str | None = None
        self._wait: Wait | None = None
        self._last_step: Step | None = None
        validation.check_literal(validation.choice, on_needs_review, "on_needs_review", ON_NEEDS_REVIEW)
        validation.choice(on_timeout, "on_timeout", ON_TIMEOUT)
        validation.check_literal(validation.run_count, run_count)
        validation.positive_seconds(self.poke_interval, "poke_interval")

    @cached_property
    def hook(self) -> ExtendHook:
        """The hook for the modes that wait in the worker."""
        from extend_provider.hooks.extend import ExtendHook

        return ExtendHook(extend_conn_id=self.extend_conn_id)

    @property
    def _work(self) -> RemoteWork:
        return RemoteWork(
            self.extend_conn_id,
            str(self.batch_id),
            validation.run_count(self.run_count),
            followers=self.followers,
        )

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait, or hand over to the triggerer."""
        self.dashboard_url = ""
        run_count = validation.run_count(self.run_count)
        if not run_count:
            self.log.info("Nothing was submitted, so there is nothing to wait for.")
            return BatchProgress(0, {}).as_dict()
        validation.batch_id(self.batch_id, run_count)
        policy = self._policy(context)
        if self.deferrable:
            self._defer(policy, run_count)
        self._wait = Wait(policy)
        self.take_in_hand(self._work, context["ti"])
        with self.hook:
            counts: dict[str, Any] = super().execute(context)
        return counts

    def _defer(self, policy: WaitPolicy, run_count: int) -> NoReturn:
        self.log.info("%s: waiting for %s runs in the triggerer.", self._work, f"{run_count:,}")
        self.defer(
            trigger=ExtendBatchTrigger(
                batch_id=str(self.batch_id),
                run_count=run_count,
                followers=self.followers,
                extend_conn_id=self.extend_conn_id,
                policy=dataclasses.asdict(policy),
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name=self.execute_complete.__name__,
            # The trigger's own deadline comes first and says more than Airflow's.
            timeout=timedelta(seconds=max(policy.deadline - time.time(), 0.0) + REPORT_GRACE_SECONDS),
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once, decide as the trigger does."""
        self._wait = wait = self._wait or Wait(self._policy(context))
        counter = RunCounter(validation.run_count(self.run_count))
        try:
            for page in self.hook.iter_run_pages(batch_id=str(self.batch_id)):
                counter.add(page)
        except ExtendError as error:
            step = wait.failed(error, now=time.time())
            self.log.warning("%s: %s", self._work, step.decision.message)
        else:
            step = wait.seen(counter.progress(), now=time.time())
        self._last_step = step
        if step.changed and wait.progress is not None:
            self._tell(context, wait.progress)
        if step.ended is None:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._conclude(step.ended))

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Take up what the trigger reports."""
        ended = Ended.from_event(event)
        if ended.progress is not None:
            context["ti"].xcom_push(key=PROGRESS_KEY, value=ended.progress)
        push_dashboard_url(self, context, ended.dashboard_url)
        return self._conclude(ended)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; the base's version with ``soft_fail`` skips on real failures too."""
        try:
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            silence = f"{self._work}: the triggerer did not report by the deadline; is one running?"
            message = f"{silence} {self._fate()}"
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(message) from error
            raise ExtendBatchTimeoutError(message) from error
        except AirflowSensorTimeout as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"{error}") from error
            raise
        except AirflowSkipException:
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"{error}") from error
            raise

    def _conclude(self, ended: Ended) -> dict[str, Any]:
        if ended.outcome is Outcome.DONE and ended.progress is not None:
            self.log.info("%s: %s", self._work, ended.message)
            return ended.progress
        if ended.outcome is not Outcome.TIMED_OUT:
            raise ended.failure(str(self._work), FATE)
        if ended.limit == "execution_timeout":
            raise AirflowTaskTimeout(f"execution_timeout: {ended.failure(str(self._work), FATE)}")
        raise ExtendBatchTimeoutError(ended.failure(str(self._work), self._fate()).message)

    def _fate(self) -> str:
        """Do to the batch what is to be done after ``timeout``, and say what became of it."""
        if self.on_timeout == "leave":
            return FATE
        outcome = f"on_timeout='cancel': {cancel_from_worker(self._work)}"
        # The base class swallows the error's text where soft_fail makes a skip of it.
        self.log.warning("%s: %s", self._work, outcome)
        return outcome

    def _tell(self, context: Context, progress: BatchProgress) -> None:
        self.log.info("%s: %s", self._work, progress)
        for warning in progress.warnings:
            self.log.warning("%s: %s", self._work, warning)
        context["ti"].xcom_push(key=PROGRESS_KEY, value=progress.as_dict())
        push_dashboard_url(self, context, progress.dashboard_url)

    def _policy(self, context: Context) -> WaitPolicy:
        deadline, limit = first_deadline(
            self._started_at(context),
            self.timeout,
            attempt_started_at=time.time(),
            execution_timeout=self.execution_timeout,
        )
        validation.choice(self.on_needs_review, "on_needs_review", ON_NEEDS_REVIEW)
        return WaitPolicy(deadline, self.poke_interval, self.on_needs_review, self.max_poll_errors, limit)

    def _started_at(self, context: Context) -> float:
        """When the first attempt began to wait, in seconds since the epoch."""
        if self.reschedule and not self.deferrable:
            first: datetime | None = context["ti"].get_first_reschedule_date(context)
            return first.timestamp() if first else time.time()
        memory = AttemptMemory(context, retries=self.retries or 0, key=WAIT_KEY)
        left = memory.recall()
        if left is not None and left.get("batch_id") == self.batch_id:
            return float(left["started_at"])
        now = time.time()
        memory.remember({"batch_id": self.batch_id, "started_at": now})
        return now

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return the adaptive interval; a rescheduled sensor remembers nothing and keeps the plain one."""
        if self._wait is None or self._last_step is None:
            return self.poke_interval
        if self.reschedule:
            return max(0.0, min(self.poke_interval, self._wait.policy.deadline - time.time()))
        return self._last_step.delay
