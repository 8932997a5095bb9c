"""The deadlines of the sensor: over retries and clears, and when the triggerer reports late or never."""

from __future__ import annotations

import copy
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from extend_provider.exceptions import (
    ExtendBatchError,
)
from extend_provider.sensors.batch import ExtendBatchSensor, ExtendBatchTimeoutError
from fixtures.extend.api import ExtendApi
from fixtures.tasks.batch_sensor import LISTING, sensor, submit
from fixtures.tasks.task_support import Task, event_of, run_deferred

TRIGGER_TIMED_OUT = {"error": TriggerFailureReason.TRIGGER_TIMEOUT}


def deferral(made: ExtendBatchSensor, context: Any) -> tuple[float, str, float]:
    """Return the trigger's deadline and its name, and when Airflow itself would end the deferral."""
    with pytest.raises(TaskDeferred) as deferred:
        made.execute(context)
    policy = deferred.value.trigger.policy
    assert deferred.value.timeout is not None
    return policy.deadline, policy.limit, time.time() + deferred.value.timeout.total_seconds()


def test_the_triggers_deadline_comes_before_airflows() -> None:
    deadline, limit, airflows = deferral(sensor("batch_1", 1, timeout=timedelta(hours=2)), Task().attempt())
    assert deadline == pytest.approx(time.time() + 7200, abs=5)
    assert limit == "timeout"
    assert 60 < airflows - deadline < 600


def test_execution_timeout_bounds_the_deferral_and_may_be_retried(extend_api: ExtendApi) -> None:
    made = sensor("batch_1", 1, timeout=7200, execution_timeout=timedelta(minutes=5))
    deadline, limit, airflows = deferral(made, Task().attempt())
    assert deadline == pytest.approx(time.time() + 300, abs=5)
    assert limit == "execution_timeout"
    assert airflows - deadline < 600

    extend_api.configure(hold=True)
    made = sensor(submit(1), 1, timeout=7200, execution_timeout=timedelta(seconds=0.3))
    with pytest.raises(AirflowTaskTimeout, match="Nothing was cancelled"):
        run_deferred(made, Task().attempt())


def test_a_retry_has_the_time_that_is_left_and_a_clear_resets_it() -> None:
    task = Task(retries=2)
    made = sensor("batch_1", 1, timeout=3600, retries=2)
    first = deferral(made, task.attempt())[0]
    time.sleep(0.05)
    assert deferral(made, task.attempt())[0] == first
    task.clear()
    time.sleep(0.05)
    cleared = deferral(made, task.attempt())[0]
    assert cleared > first
    time.sleep(0.05)
    assert deferral(made, task.attempt())[0] == cleared


def test_another_batch_gets_its_own_time() -> None:
    task = Task(retries=1)
    first = deferral(sensor("batch_1", 1, timeout=3600, retries=1), task.attempt())[0]
    time.sleep(0.05)
    assert deferral(sensor("batch_2", 1, timeout=3600, retries=1), task.attempt())[0] > first


def test_an_attempt_without_a_task_state_store_has_its_own_time() -> None:
    context = Task().attempt()
    del context["task_state_store"]
    assert deferral(sensor("batch_1", 1, timeout=60), context)[0] == pytest.approx(time.time() + 60, abs=5)


def deferred_and_late(made: ExtendBatchSensor, context: Any, seconds: float = 0.5) -> None:
    """Defer, and let time pass in which no triggerer runs."""
    with pytest.raises(TaskDeferred):
        made.execute(context)
    time.sleep(seconds)


def resumed_without_report(made: ExtendBatchSensor, context: Any) -> Any:
    return copy.copy(made).resume_execution(TRIGGER_FAIL_REPR, TRIGGER_TIMED_OUT, context)


@pytest.mark.parametrize(
    ("limits", "error", "left"),
    [
        pytest.param(
            {"timeout": timedelta(days=1), "execution_timeout": timedelta(seconds=0.3)},
            AirflowTaskTimeout,
            "PENDING",
            id="execution_timeout",
        ),
        pytest.param(
            {"timeout": 0.4, "execution_timeout": timedelta(seconds=0.3)},
            AirflowTaskTimeout,
            "PENDING",
            id="both, execution_timeout first",
        ),
        pytest.param({"timeout": 0.3}, ExtendBatchTimeoutError, "CANCELLED", id="timeout"),
    ],
)
def test_a_late_resume_of_runs_applies_the_passed_limit(
    limits: dict[str, Any], error: type[BaseException], left: str, extend_api: ExtendApi
) -> None:
    extend_api.configure(hold=True, cancelling_seconds=0)
    made, context = sensor(submit(2), 2, on_timeout="cancel", **limits), Task().attempt()
    deferred_and_late(made, context)
    with pytest.raises(error, match="Batch batch_"):
        resumed_without_report(made, context)
    assert extend_api.stats()["runs"] == {left: 2}


def test_a_batch_that_settled_during_the_outage_is_done_although_its_time_is_up(
    extend_api: ExtendApi,
) -> None:
    extend_api.configure(hold=True)
    task = Task()
    made, context = sensor(submit(2), 2, timeout=0.3, on_timeout="cancel"), task.attempt()
    deferred_and_late(made, context)
    extend_api.configure(hold=False)
    time.sleep(0.3)
    looks = extend_api.requests_to(LISTING)
    assert resumed_without_report(made, context)["by_status"] == {"PROCESSED": 2}
    assert extend_api.requests_to(LISTING) == looks + 1
    assert task.xcoms["progress"]["settled"] == 2


def test_a_report_that_a_worker_takes_up_late_is_not_the_last_word(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    made, context = sensor(submit(2), 2, timeout=0.3, on_timeout="cancel"), Task().attempt()
    with pytest.raises(TaskDeferred) as deferred:
        made.execute(context)
    event = event_of(deferred.value)
    assert event["outcome"] == "timed_out"
    extend_api.configure(hold=False)
    time.sleep(0.3)
    counts = made.resume_execution("execute_complete", {"event": event}, context)
    assert counts["by_status"] == {"PROCESSED": 2}


def test_a_deferral_that_ended_before_its_time_is_begun_again(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    made, context = sensor(submit(1), 1, on_timeout="cancel"), Task().attempt()
    deferred_and_late(made, context, 0)
    for _ in range(2):
        with pytest.raises(TaskDeferred):
            resumed_without_report(made, context)
    assert extend_api.stats()["runs"] == {"PENDING": 1}


def test_an_unknown_limit_cancels_and_skips_nothing(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    task = Task(retries=1)
    made = sensor(submit(1), 1, timeout=0.3, on_timeout="cancel", soft_fail=True, retries=1)
    with pytest.raises(ExtendBatchError, match="nothing was cancelled") as caught:
        resumed_without_report(made, task.attempt())
    assert caught.value.retryable
    deferred_and_late(made, task.attempt())
    with pytest.raises(ExtendBatchError, match="nothing was cancelled"):  # what another attempt waited for
        resumed_without_report(made, task.attempt())
    made.never_fail, made.soft_fail = True, False
    with pytest.raises(AirflowSkipException):
        resumed_without_report(made, task.attempt())
    assert extend_api.stats()["runs"] == {"PENDING": 1}
