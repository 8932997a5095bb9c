"""What a group's tasks have in common: defaults, retries, skips, waiting for Extend and the warehouse."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.providers.standard.utils.skipmixin import SkipMixin
from airflow.sdk import (
    BaseOperator,
    ExceptionRetryPolicy,
    TaskGroup,
    TriggerRule,
    get_current_context,
    task,
)
from airflow.sdk.configuration import conf
from airflow.sdk.definitions.retry_policy import RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, XComNotFound

from extend_pipeline.batches.reservations import Planner, airflow_id
from extend_pipeline.exceptions import PipelineOutcomeError, is_outage
from extend_pipeline.warehouse.records import WarehouseBusyError
from extend_provider.batch.submission import RetryAt
from extend_provider.exceptions import ExtendError
from extend_provider.retry_policy import EXTEND_RETRY_POLICY
from extend_provider.sensors.batch import ExtendBatchTimeoutError
from extend_provider.triggers.submission import defer_until

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: Default for DAGs that set no retries: a dead worker or an unreachable warehouse must not fail a run.
RETRIES: Final = 3


def open_group(group_id: str) -> TaskGroup:
    """Return a new task group of the DAG, or group, that is being defined; use it as a context manager.

    Its tasks push XComs and use the trigger rule ``all_success``, whatever the DAG's ``default_args`` say;
    they keep the author's ``retries`` if there are any.
    """
    group = TaskGroup(group_id)
    given = {**(group.dag.default_args or {}), **group.default_args}
    # Later tasks get higher priority, so a chunk that has begun is finished before the next one begins.
    own: dict[str, Any] = {"retry_policy": PIPELINE_RETRY_POLICY, "weight_rule": "upstream"}
    own |= {"do_xcom_push": True, "trigger_rule": TriggerRule.ALL_SUCCESS}
    if "retries" not in given and not conf.getint("core", "default_task_retries", fallback=0):
        own["retries"] = RETRIES
    group.default_args |= own
    return group


def python_task(
    task_id: str, function: Callable[..., Any], *, short_circuit: bool = False, **options: Any
) -> Callable[..., Any]:
    """Make a task of a function; what it is called with are other tasks' outputs, which Airflow resolves.

    What it returns is one XCom. Of a dictionary, Airflow would push each value once more. While others keep
    the warehouse busy, the task is called again and again, which costs no retry.

    :param short_circuit: skip what comes after the task if the function returns nothing.
    """
    make = task.short_circuit if short_circuit else task
    made: Callable[..., Any] = make(task_id=task_id, multiple_outputs=False, **options)(
        _waiting_for_warehouse(function)
    )
    return made


def _waiting_for_warehouse(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a task wait for a busy warehouse without a worker: it is rescheduled, and then called anew."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except WarehouseBusyError as error:
            context = get_current_context()
            now = dt.datetime.now(dt.UTC)
            since = context["ti"].get_first_reschedule_date(context) or now
            if now - since > LONGEST_WAIT:
                raise WarehouseBusyError(f"{error} Clear this task to wait for another day.") from None
            log.warning("%s This task looks again in %g s, and loses no retry.", error, BUSY_PAUSE)
            again = now + dt.timedelta(seconds=BUSY_PAUSE)
            raise AirflowRescheduleException(again) from None  # type: ignore[no-untyped-call]

    return call


def pipeline_of(ti: Any) -> str:
    """Return ``<DAG id>.<task group id>`` of a task."""
    return f"{ti.dag_id}.{ti.task_id.rpartition('.')[0]}"


def planner_of(ti: Any) -> Planner:
    """Return the planner of a ``plan`` task; each execution of the task is another planner."""
    group_id = ti.task_id.rpartition(".")[0]
    plan = uuid.uuid4().hex[:12]
    return Planner(plan=plan, airflow=airflow_id(), dag_id=ti.dag_id, run_id=ti.run_id, group_id=group_id)


def skip_behind(ti: Any, name: str) -> None:
    """Skip the running task if another task of its group was skipped.

    For tasks whose trigger rule lets them run after failures.

    :param ti: of the running task.
    :param name: the other task's name in the group.
    :raises AirflowSkipException: if the other task was skipped.
    """
    task_id = f"{ti.task_id.rpartition('.')[0]}.{name}"
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
    if "skipped" in (states.get(ti.run_id) or {}).values():
        raise AirflowSkipException(f"{task_id} was skipped: nothing was planned, nothing sent.")


PIPELINE_RETRY_POLICY: Final = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PipelineOutcomeError,
            action=RetryAction.FAIL,
            reason="Everything that could land has landed; a retry would come to the same result.",
        ),
        RetryRule(
            exception=XComNotFound,
            action=RetryAction.FAIL,
            reason="An upstream task was marked as success before it had finished; clear that task.",
        ),
        RetryRule(
            exception=WarehouseBusyError,
            action=RetryAction.FAIL,
            reason="The task has waited a day for the warehouse; a retry would wait for another one.",
        ),
        *EXTEND_RETRY_POLICY.rules,
    ],
    default=RetryAction.DEFAULT,
)


#: Seconds until the next attempt; doubled after each failure, up to the longest. The client has retried each
#: request several times by then, see :class:`~extend_provider.client.pacing.retries.Backoff`.
FIRST_PAUSE: float = 30.0
LONGEST_PAUSE: Final = 600.0
#: Seconds between two looks at a warehouse that others keep busy. Airflow 3.3 learns some seconds late that a
#: task has given its worker back, and would take one that began again before that for a failed one.
BUSY_PAUSE: float = 60.0
#: How long a task waits for such a warehouse. A replay of a large dataset takes hours.
LONGEST_WAIT: Final = dt.timedelta(days=1)


def retry_later(
    task: BaseOperator,
    error: ExtendError,
    method: Callable[..., Any],
    ti: Any,
    *,
    deadline: float,
    explanation: str,
    failures: int = 0,
    **state: Any,
) -> NoReturn:
    """Defer a task after an outage of Extend, without a worker slot, and call a method of it later.

    :param method: of the task; called with an event that has ``failures``, ``deadline`` and ``state``.
    :param ti: the task instance.
    :param deadline: when the task fails instead, in seconds since the epoch.
    :param explanation: the state of the remote work and what to do next, for the error at the deadline.
    :param failures: how many attempts failed before this one.
    :raises ExtendBatchTimeoutError: the deadline has passed. Airflow does not retry it.
    """
    left = deadline - time.time()
    if left <= 0:
        moment = dt.datetime.fromtimestamp(deadline, dt.UTC).isoformat(timespec="seconds")
        raise ExtendBatchTimeoutError(
            f"Extend had no answer by the deadline ({moment}): {error} {explanation}"
        )
    pause = max(min(FIRST_PAUSE * 2.0 ** min(failures, 16), LONGEST_PAUSE), error.retry_after or 0.0)
    task.log.warning("Extend did not answer (%s failures before); asked again later: %s", failures, error)
    retry = RetryAt(at=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=min(pause, left)))
    state = {"failures": failures + 1, "deadline": deadline, **state}
    defer_until(task, retry, method, ti, cancel_on_kill=False, **state)


class ExtendCallOperator(BaseOperator, SkipMixin):
    """Calls an idempotent function that sends requests to Extend; during an outage it is deferred.

    Returns the function's result. An outage costs no retry.

    :param function: the function to call.
    :param arguments: its positional arguments; a template.
    :param timeout: how long the task may take, outages included.
    :param short_circuit: skip all downstream tasks if the function returns nothing.
    :raises ExtendBatchTimeoutError: the outage lasted longer than ``timeout``.
    """

    template_fields: Sequence[str] = ("arguments",)

    def __init__(
        self,
        *,
        function: Callable[..., Any],
        arguments: list[Any],
        timeout: dt.timedelta,
        short_circuit: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.function = function
        self.arguments = arguments
        self.timeout = timeout
        self.short_circuit = short_circuit

    def execute(self, context: Context) -> Any:
        """Call the function."""
        return self._call(context, time.time() + self.timeout.total_seconds())

    def ask_again(self, context: Context, event: Any = None) -> Any:
        """Call it again after an outage."""
        return self._call(context, event["deadline"], event["failures"])

    def _call(self, context: Context, deadline: float, failures: int = 0) -> Any:
        try:
            result = self.function(*self.arguments)
        except ExtendError as error:
            if not is_outage(error):
                raise
            retry_later(
                self,
                error,
                self.ask_again,
                context["ti"],
                deadline=deadline,
                failures=failures,
                explanation="Nothing is lost, at Extend or here; clear this task to continue.",
            )
        if self.short_circuit and not result:
            self.skip(context["ti"], context["task"].get_flat_relatives(upstream=False))
        return result
