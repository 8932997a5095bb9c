"""Waits until every run of a batch has settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue, XComArg
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

from extend_provider.batch.attempts import AttemptMemory
from extend_provider.batch.cancellation import OnTimeout, RemoteWork
from extend_provider.batch.waiting.polling import Outcome, PollResult, WaitPolicy
from extend_provider.batch.waiting.progress import BatchProgress, FailurePolicy, OnNeedsReview, RunCounter
from extend_provider.batch.waiting.watching import InboxPoller
from extend_provider.client import validation
from extend_provider.exceptions import ExtendBatchError, ExtendError
from extend_provider.links.dashboard import ExtendDashboardLink, push_dashboard_url
from extend_provider.triggers.base import PROGRESS_KEY, REPORT_GRACE_SECONDS
from extend_provider.triggers.batch import ExtendBatchTrigger
from extend_provider.triggers.deferral import WaitsForRunsMixin
from extend_provider.triggers.looking import InboxLook

if TYPE_CHECKING:
    from airflow.sdk import Context

LEFT_RUNNING = (
    "Nothing was cancelled: the batch continues at Extend. Clear this task to wait for it again; nothing is "
    "submitted a second time, because the batch's id comes from upstream."
)
#: Key in the task state store under which the attempts of one task instance share when the wait began.
WAIT_KEY = "extend_batch_wait"


class ExtendBatchTimeoutError(ExtendBatchError, AirflowSensorTimeout):
    """The deadline has passed. To Airflow a sensor's timeout: not retried, and a skip with ``soft_fail``."""


class ExtendBatchSensor(WaitsForRunsMixin, BaseSensorOperator):
    """Waits until as many runs as were submitted are listed and every one has settled.

    If the connection has an inbox of webhooks, the wait ends a few seconds after the last run's webhook, and
    Extend's list is a slow safety net.

    Returns the counts: ``{"summary", "expected", "listed", "settled", "by_status": {status: number}}``. The
    same dict is the XCom ``progress`` while the task waits, deferred or not.

    ``timeout`` counts from the first attempt: a retry has the time that is left, clearing the task resets it.
    ``soft_fail`` turns only a passed ``timeout`` into a skip. ``exponential_backoff`` and ``max_wait`` have
    no effect: the interval between two polls adapts itself, up to ``poke_interval``.

    .. code-block:: python

        submit = ExtendSubmitBatchOperator(task_id="submit", workflow_id="workflow_…", inputs=[…])
        ExtendBatchSensor(task_id="wait", batch_id=submit.output, run_count=submit.output["run_count"])

    :param batch_id: the batch; None together with ``run_count`` 0 (nothing was submitted) succeeds at once.
    :param run_count: how many runs were submitted.
    :param on_needs_review: what a run that waits for a human reviewer means: ``land`` counts it as settled,
        ``wait`` goes on until the reviewer has decided, ``fail`` lets the rest settle and fails then.
    :param on_timeout: what happens to the batch when ``timeout`` has passed: ``leave`` lets it continue,
        ``cancel`` cancels the runs that have not settled. ``execution_timeout`` ends an attempt and cancels
        nothing. In either case, Extend is polled once more first: if the batch has settled by then, the task
        succeeds.
    :param max_failed: fail, once every run has settled, if more runs failed, were rejected or cancelled.
        None: any number may, and a warning says how many did.
    :param max_failed_ratio: the same by share of the runs submitted, 0 to 1.
    :param missing_after: seconds for which fewer runs may be listed than were submitted, all of them settled
        and nothing changing, before the missing ones count as gone, and as failed: an error, unless
        ``max_failed`` or ``max_failed_ratio`` allow it. A batch without any
        listed run never counts as gone. None: missing runs are waited for until ``timeout``.
    :param cancel_on_kill: cancel the runs that have not settled when the task is marked failed or success, or
        its DAG run is deleted, while it waits. Clearing it, and restarts of Airflow, never cancel anything.
    :param deferrable: wait in the triggerer, without a worker slot; False: as ``mode`` says. The default is
        Airflow's, ``[operators] default_deferrable``.
    :param max_poll_errors: how many failed polls in a row are tolerated if the error is transient (rate
        limit, server fault, no connection); None: any number until the deadline. Others fail at once. With
        ``mode="reschedule"`` each poll is a process of its own, and failures are not counted.
    :param extend_conn_id: connection to Extend.
    :raises ExtendBatchTimeoutError: the deadline has passed.
    :raises ExtendBatchError: ``on_needs_review="fail"`` and runs are in review, too many runs failed, or runs
        are gone.
    :raises ExtendError: asking Extend failed for good, e.g. because of a wrong API key.
    """

    template_fields: Sequence[str] = ("batch_id", "run_count", "on_needs_review", "extend_conn_id")
    operator_extra_links = (ExtendDashboardLink(),)
    left_running: ClassVar[str] = LEFT_RUNNING
    timeout_error: ClassVar[type[ExtendBatchError]] = ExtendBatchTimeoutError
    #: The folder with a file for each task that needs the same batch, see
    #: :mod:`extend_provider.batch.ownership`; None: no other task needs it.
    waiters: str | None = None

    def __init__(
        self,
        *,
        batch_id: str | XComArg | None,
        run_count: int | str | XComArg,
        on_needs_review: OnNeedsReview = "land",
        on_timeout: OnTimeout = "leave",
        cancel_on_kill: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        max_failed: int | None = None,
        max_failed_ratio: float | None = None,
        missing_after: timedelta | float | None = None,
        max_poll_errors: int | None = None,
        extend_conn_id: str = "extend_default",
        **kwargs: Any,
    ) -> None:
        for name in ("timeout", "poke_interval"):
            if kwargs.get(name):  # a timeout of 0 is one poll
                validation.positive_seconds(kwargs[name], name)
        super().__init__(**kwargs)
        self.batch_id = batch_id
        self.run_count = run_count
        self.on_needs_review = on_needs_review
        self.on_timeout = on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.deferrable = deferrable
        self.max_failed = validation.count(max_failed, "max_failed")
        self.max_failed_ratio = validation.ratio(max_failed_ratio, "max_failed_ratio")
        self.missing_after = missing_after
        self.max_poll_errors = max_poll_errors
        self.extend_conn_id = extend_conn_id
        self._poller: InboxPoller | None = None
        self._last_result: PollResult | None = None
        self._inbox: InboxLook | None = None
        self._check_wait_arguments()
        validation.check_literal(validation.optional_text, batch_id, "batch_id")
        validation.check_literal(validation.run_count, run_count)
        validation.positive_seconds(self.poke_interval, "poke_interval")
        if missing_after is not None:
            validation.positive_seconds(missing_after, "missing_after")

    @property
    def _work(self) -> RemoteWork:
        run_count = validation.run_count(self.run_count)
        return RemoteWork(self.extend_conn_id, str(self.batch_id), run_count, waiters=self.waiters)

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait, or hand over to the triggerer if the batch has not settled yet."""
        self.dashboard_url = ""
        run_count = validation.run_count(self.run_count)
        if not run_count:
            self.log.info("Nothing was submitted, so there is nothing to wait for.")
            return BatchProgress(0, {}).as_dict()
        validation.batch_id(self.batch_id, run_count)
        policy = self._policy(context)
        if self.deferrable:
            return self._complete_or_defer(context, policy)
        self._poller = InboxPoller(policy)
        self.own_work(self._work, context["ti"])
        # Our own deadline comes first: after a poll that has decided to go on, Airflow looks at the clock,
        # and would end the task without on_timeout.
        timeout, self.timeout = self.timeout, self.timeout + REPORT_GRACE_SECONDS
        try:
            with self.hook:
                counts: dict[str, Any] = super().execute(context)
        finally:
            self.timeout = timeout
        return counts

    def _trigger(self, policy: WaitPolicy) -> ExtendBatchTrigger:
        return ExtendBatchTrigger(
            batch_id=str(self.batch_id),
            run_count=validation.run_count(self.run_count),
            followers=self.waiters,
            extend_conn_id=self.extend_conn_id,
            policy=policy.as_dict(),
            cancel_on_kill=self.cancel_on_kill,
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look into the inbox or poll, and decide as the trigger does."""
        self._poller = poller = self._poller or InboxPoller(self._policy(context))
        self._last_result = result = self._look_with(poller) or self._poll_with(poller, self._count)
        if result.changed and poller.shown is not None:
            self._report(context, poller.shown)
        if not result.is_final:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._conclude(result))

    def _look_with(self, poller: InboxPoller) -> PollResult | None:
        """Look into the inbox; None if there is none, or if Extend is to be polled all the same."""
        try:
            settings = self.hook.settings
        except ExtendError:  # the poll fails of it too, and says so
            return None
        result = None
        self._inbox = self._inbox or InboxLook(str(self.batch_id), validation.run_count(self.run_count))
        try:
            arrived = self._inbox.progress(settings)
        except Exception as error:  # noqa: BLE001  # of whatever store there is; Extend is polled instead
            poller.unreadable(error)
        else:
            result = None if arrived is None else poller.looked(arrived, now=time.time())
        for note in poller.take_notes():
            self.log.warning("%s: %s", self._work, note)
        # A rescheduled sensor has no state that could tell when it has polled last.
        is_poll_due = self.reschedule or poller.is_poll_due(time.time())
        return None if result is None or (is_poll_due and not result.is_final) else result

    def _count(self) -> BatchProgress:
        counter = RunCounter(validation.run_count(self.run_count))
        for page in self.hook.iter_run_pages(batch_id=str(self.batch_id)):
            counter.add(page)
        return counter.progress()

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Process the event of the trigger."""
        if (progress := PollResult.from_event(event).progress) is not None:
            context["ti"].xcom_push(key=PROGRESS_KEY, value=progress)
        counts: dict[str, Any] = super().execute_complete(context, event)
        return counts

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after the deferral; with ``soft_fail`` only a passed ``timeout`` is a skip."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException:
            raise
        except AirflowSensorTimeout as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"{error}") from error
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException(f"{error}") from error
            raise

    def _conclude(self, result: PollResult) -> dict[str, Any]:
        if result.outcome not in {Outcome.DONE, Outcome.RUNS_MISSING} or result.progress is None:
            self._give_up(result)
        self.log.info("%s: %s", self._work, result.message)
        self._judge_failures(result.progress, gone=result.outcome is Outcome.RUNS_MISSING)
        return result.progress

    def _judge_failures(self, counts: dict[str, Any], *, gone: bool) -> None:
        said, too_many = FailurePolicy(self.max_failed, self.max_failed_ratio).judge(counts, gone=gone)
        if too_many:
            raise ExtendBatchError(
                f"{self._work}: {said} All listed runs have ended, and nothing was cancelled; Extend has "
                "their results. Raise the limit, or submit what failed again."
            )
        if said is not None:
            self.log.warning("%s: %s", self._work, said)

    def _report(self, context: Context, progress: BatchProgress) -> None:
        self.log.info("%s: %s", self._work, progress)
        for warning in progress.warnings:
            self.log.warning("%s: %s", self._work, warning)
        context["ti"].xcom_push(key=PROGRESS_KEY, value=progress.as_dict())
        push_dashboard_url(self, context, progress.dashboard_url)

    def _policy(self, context: Context) -> WaitPolicy:
        missing_after = self.missing_after
        if missing_after is not None:
            missing_after = validation.positive_seconds(missing_after, "missing_after")
        return self._policy_from(self._started_at(context), self.poke_interval, missing_after)

    def _started_at(self, context: Context) -> float:
        """When the first attempt began to wait, in seconds since the epoch."""
        if self.reschedule and not self.deferrable:
            first: datetime | None = context["ti"].get_first_reschedule_date(context)
            return first.timestamp() if first else time.time()
        memory = AttemptMemory(context, retries=self.retries or 0, key=WAIT_KEY)
        remembered = memory.recall()
        if remembered is not None and remembered.get("batch_id") == self.batch_id:
            return float(remembered["started_at"])
        now = time.time()
        memory.remember({"batch_id": self.batch_id, "started_at": now})
        return now

    def _get_next_poke_interval(
        self, started_at: datetime | float, run_duration: Callable[[], float], poke_count: int
    ) -> float:
        """Return the adaptive interval; a rescheduled sensor has no state and uses the plain one."""
        if self._poller is None or self._last_result is None:
            return self.poke_interval
        if self.reschedule:
            return max(0.0, min(self.poke_interval, self._poller.policy.deadline - time.time()))
        return self._last_result.delay
