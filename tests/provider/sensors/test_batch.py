"""The sensor in its three ways of waiting, over retries and clears, against the emulator."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferred,
)
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from extend_provider.batch.waiting.polling import PollResult
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendBatchError,
    ExtendError,
    ExtendInputError,
    ExtendServerError,
)
from extend_provider.sensors.batch import ExtendBatchSensor, ExtendBatchTimeoutError
from fixtures.extend.api import ExtendApi
from fixtures.tasks.batch_sensor import LISTING, MODES, Run, run_poking, run_rescheduled, sensor, submit
from fixtures.tasks.task_support import Task, run_deferred


@MODES
def test_the_counts_are_returned_and_the_dashboard_is_linked(run: Run, extend_api: ExtendApi) -> None:
    extend_api.configure(
        listing_lag_seconds=0.3, outcomes=[{"status": "FAILED", "name_glob": "0.txt"}], repeat_between_pages=1
    )
    task = Task()
    counts = run(sensor(submit(4), 4), task.attempt())
    assert counts == {
        "summary": "4 of 4 settled, 1 failed",
        "expected": 4,
        "listed": 4,
        "settled": 4,
        "by_status": {"FAILED": 1, "PROCESSED": 3},
    }
    assert task.xcoms["progress"] == counts
    assert task.xcoms["dashboard_url"].startswith("https://")


def test_a_batch_that_has_settled_needs_no_triggerer(extend_api: ExtendApi) -> None:
    batch_id = submit(3)
    extend_api.runs(batch_id)
    before = extend_api.requests_to(LISTING)
    task = Task()
    counts = sensor(batch_id, 3).execute(task.attempt())
    assert (counts["settled"], counts["by_status"]) == (3, {"PROCESSED": 3})
    assert task.xcoms["progress"] == counts
    assert task.xcoms["dashboard_url"].startswith("https://")
    assert extend_api.requests_to(LISTING) == before + 1


def test_too_many_failures_of_a_batch_that_has_settled_fail_its_task(extend_api: ExtendApi) -> None:
    extend_api.configure(outcomes=[{"status": "FAILED", "name_glob": "0.txt"}])
    batch_id = submit(2)
    extend_api.runs(batch_id)
    with pytest.raises(ExtendBatchError, match="1 of 2 runs"):
        sensor(batch_id, 2, max_failed=0).execute(Task().attempt())


@pytest.mark.parametrize("trouble", ["unsettled", "short", "refused", "silent", "unknown"])
def test_whatever_else_a_worker_sees_is_left_to_the_trigger(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.FIRST_LOOK_SECONDS", 1.0)
    extend_api.configure(hold=trouble == "unsettled")
    batch_id, run_count = submit(2), 2
    if trouble == "short":
        extend_api.runs(batch_id)
        run_count = 3
    elif trouble == "refused":
        extend_api.configure(faults=[{"endpoint": LISTING, "kind": "error", "status": 401}])
    elif trouble == "silent":
        extend_api.configure(faults=[{"endpoint": LISTING, "kind": "slow", "seconds": 20}])
    elif trouble == "unknown":
        batch_id = "batch_unknown"
    begun = time.monotonic()
    with pytest.raises(TaskDeferred) as deferred:
        sensor(batch_id, run_count).execute(Task().attempt())
    assert deferred.value.trigger.work.batch_id == batch_id
    assert time.monotonic() < begun + 10


@MODES
@pytest.mark.parametrize(
    ("on_needs_review", "error"),
    [("land", None), ("fail", ExtendBatchError), ("wait", ExtendBatchTimeoutError)],
)
def test_runs_in_review_are_handled_by_the_policy(
    run: Run, on_needs_review: Any, error: Any, extend_api: ExtendApi
) -> None:
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW", "name_glob": "0.txt"}])
    made = sensor(submit(2), 2, on_needs_review=on_needs_review, timeout=1.0)
    if error is None:
        assert run(made, Task().attempt())["by_status"] == {"NEEDS_REVIEW": 1, "PROCESSED": 1}
        return
    with pytest.raises(error, match="1 in review") as caught:
        run(made, Task().attempt())
    assert type(caught.value) is error


@MODES
def test_a_timeout_says_what_became_of_the_batch_and_how_to_go_on(run: Run, extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    batch_id = submit(3)
    started = time.monotonic()
    with pytest.raises(ExtendBatchTimeoutError) as caught:
        run(sensor(batch_id, 3, timeout=0.7), Task().attempt())
    assert time.monotonic() - started < 4
    assert isinstance(caught.value, AirflowSensorTimeout), "Airflow does not retry it"
    message = str(caught.value)
    assert batch_id in message
    assert "0 of 3 settled" in message
    assert "Nothing was cancelled" in message
    assert "Clear this task" in message


@MODES
@pytest.mark.parametrize("soft_fail", [False, True], ids=["plain", "soft-fail"])
def test_a_timeout_cancels_what_has_not_settled_if_it_is_to(
    run: Run, soft_fail: bool, extend_api: ExtendApi, capsys: pytest.CaptureFixture[str]
) -> None:
    extend_api.configure(hold=True, cancelling_seconds=0)
    made = sensor(submit(3), 3, timeout=0.5, on_timeout="cancel", soft_fail=soft_fail)
    told = "on_timeout='cancel': 3 runs cancelled, 0 had settled before"
    with pytest.raises(AirflowSkipException if soft_fail else ExtendBatchTimeoutError) as caught:
        run(made, Task().attempt())
    assert soft_fail or told in str(caught.value)
    assert told in capsys.readouterr().out
    assert extend_api.stats()["runs"] == {"CANCELLED": 3}


@pytest.mark.parametrize("soft_fail", [False, True])
@pytest.mark.parametrize("run", [run_poking, run_rescheduled])
def test_a_deadline_that_passes_right_after_a_poll_is_a_timeout_like_any_other(
    run: Run, soft_fail: bool, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow looks at its clock after each poll, when ours has decided to go on."""
    extend_api.configure(hold=True, cancelling_seconds=0)
    made = sensor(submit(2), 2, timeout=0.5, on_timeout="cancel", soft_fail=soft_fail)
    monkeypatch.setattr(ExtendBatchSensor, "_report", lambda *_: time.sleep(0.6))
    with pytest.raises(AirflowSkipException if soft_fail else ExtendBatchTimeoutError) as caught:
        run(made, Task().attempt())
    assert soft_fail or "on_timeout='cancel': 2 runs cancelled" in str(caught.value)
    assert extend_api.stats()["runs"] == {"CANCELLED": 2}


def test_runs_that_a_timeout_could_not_cancel_are_reported_with_the_command(extend_api: ExtendApi) -> None:
    extend_api.configure(outcomes=[{"status": "QUARANTINED", "name_glob": "0.txt"}])
    batch_id = submit(2)
    with pytest.raises(ExtendBatchTimeoutError, match="1 may still be at work") as caught:
        run_deferred(sensor(batch_id, 2, timeout=0.5, on_timeout="cancel"), Task().attempt())
    assert f"airflow extend cancel --batch-id {batch_id} --conn-id extend_default" in str(caught.value)


def test_an_execution_timeout_ends_an_attempt_and_cancels_nothing(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    made = sensor(submit(1), 1, timeout=60, execution_timeout=timedelta(seconds=0.3), on_timeout="cancel")
    with pytest.raises(AirflowTaskTimeout, match="Nothing was cancelled"):
        run_deferred(made, Task().attempt())
    assert extend_api.stats()["runs"] == {"PENDING": 1}


@pytest.mark.parametrize(
    ("state", "arguments", "left"),
    [
        pytest.param("failed", {}, {"CANCELLED": 2}, id="marked"),
        pytest.param("running", {}, {"PENDING": 2}, id="worker-shut-down"),
        pytest.param("restarting", {}, {"PENDING": 2}, id="cleared"),
        pytest.param("failed", {"cancel_on_kill": False}, {"PENDING": 2}, id="not-to-be-cancelled"),
    ],
)
def test_a_killed_worker_cancels_only_what_was_given_up(
    state: str,
    arguments: dict[str, Any],
    left: dict[str, int],
    extend_api: ExtendApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extend_api.configure(hold=True, cancelling_seconds=0)
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **asked: {"run": {"task": state}})
    made = sensor(submit(2), 2, timeout=1.5, **arguments)

    def terminated(*_: Any) -> None:
        made.on_kill()

    before = signal.signal(signal.SIGALRM, terminated)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(ExtendBatchTimeoutError) if "PENDING" in left else contextlib.nullcontext():
            run_poking(made, Task().attempt())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert extend_api.stats()["runs"] == left


@MODES
def test_soft_fail_skips_on_a_timeout(run: Run, extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    with pytest.raises(AirflowSkipException):
        run(sensor(submit(1), 1, timeout=0.4, soft_fail=True), Task().attempt())


@MODES
@pytest.mark.parametrize("soft_fail", [False, True], ids=["plain", "soft-fail"])
def test_a_wrong_key_fails_at_once_and_is_never_a_skip(
    run: Run, soft_fail: bool, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = submit(1)
    wrong = dataclasses.replace(extend_api, key="sk_wrong_5ecre7")
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", wrong.connection_json())
    started = time.monotonic()
    with pytest.raises(ExtendAuthError) as caught:
        run(sensor(batch_id, 1, soft_fail=soft_fail), Task().attempt())
    assert time.monotonic() - started < 5
    assert batch_id in str(caught.value)
    assert not caught.value.retryable
    assert "5ecre7" not in str(caught.value)


@MODES
def test_faults_that_pass_are_waited_out(run: Run, extend_api: ExtendApi) -> None:
    batch_id = submit(2)
    extend_api.configure(
        faults=[
            {"endpoint": LISTING, "kind": "error", "status": 502},
            {"endpoint": LISTING, "kind": "drop"},
        ]
    )
    assert run(sensor(batch_id, 2), Task().attempt())["settled"] == 2


@pytest.mark.parametrize("run", [run_deferred, run_poking], ids=["deferred", "poke"])
def test_too_many_failed_polls_in_a_row_are_the_error_they_were(
    run: Run, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hook in ("ExtendHook", "ExtendAsyncHook"):
        monkeypatch.setattr(
            f"extend_provider.hooks.extend.{hook}.__init__.__defaults__", ("extend_default", 1)
        )
    batch_id = submit(1)
    extend_api.configure(faults=[{"endpoint": LISTING, "kind": "error", "status": 503, "count": None}])
    with pytest.raises(ExtendServerError, match="2 times in a row") as caught:
        run(sensor(batch_id, 1, max_poll_errors=1), Task().attempt())
    assert caught.value.status == 503
    assert caught.value.retryable


@pytest.mark.parametrize("run_count", [0, "0"], ids=repr)
@pytest.mark.parametrize("batch_id", [None, "None", ""], ids=repr)
def test_nothing_submitted_is_nothing_to_wait_for(
    batch_id: Any, run_count: Any, extend_api: ExtendApi
) -> None:
    counts = sensor(batch_id, run_count).execute(Task().attempt())
    assert (counts["expected"], counts["settled"]) == (0, 0)
    assert extend_api.requests_to(LISTING) == 0


def test_a_missing_batch_id_is_refused_before_any_request(extend_api: ExtendApi) -> None:
    with pytest.raises(ExtendInputError, match="run_count is 3"):
        sensor(None, "3").execute(Task().attempt())
    assert extend_api.requests_to(LISTING) == 0


FAILED_RUNS = [
    {"status": "FAILED", "name_glob": "0.txt"},
    {"status": "REJECTED", "name_glob": "1.txt"},
]


@MODES
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({}, None, id="any-number"),
        pytest.param({"max_failed": 2}, None, id="as-many-as-allowed"),
        pytest.param(
            {"max_failed": 1}, r"2 of 4 runs failed \(1 FAILED, 1 REJECTED\), more than max", id="more"
        ),
        pytest.param({"max_failed_ratio": 0.5}, None, id="share-allowed"),
        pytest.param({"max_failed_ratio": 0.49}, "a larger share than max_failed_ratio=0.49", id="share"),
    ],
)
def test_failed_runs_are_reported_and_too_many_fail_the_task(
    run: Run,
    arguments: dict[str, Any],
    says: str | None,
    extend_api: ExtendApi,
    capsys: pytest.CaptureFixture[str],
) -> None:
    extend_api.configure(outcomes=FAILED_RUNS)
    made = sensor(submit(4), 4, **arguments)
    if says is None:
        assert run(made, Task().attempt())["settled"] == 4
    else:
        with pytest.raises(ExtendBatchError, match=says):
            run(made, Task().attempt())
    assert says or "2 of 4 runs failed (1 FAILED, 1 REJECTED)" in capsys.readouterr().out


@pytest.mark.parametrize("run", [run_deferred, run_poking], ids=["deferred", "poke"])
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({}, r"1 of 3 runs failed \(1 gone\); neither max_failed", id="nobody-said"),
        pytest.param({"max_failed": 0}, "more than max_failed=0", id="too-many"),
        pytest.param({"max_failed": 1}, None, id="allowed"),
    ],
)
def test_runs_that_never_appear_end_the_wait_as_failed_ones(
    run: Run, arguments: dict[str, Any], says: str | None
) -> None:
    made = sensor(submit(2), 3, missing_after=timedelta(seconds=0.4), **arguments)
    if says is None:
        assert run(made, Task().attempt())["listed"] == 2
        return
    with pytest.raises(ExtendBatchError, match=says) as caught:
        run(made, Task().attempt())
    assert type(caught.value) is ExtendBatchError


@MODES
def test_a_batch_without_listed_runs_never_counts_as_gone(run: Run) -> None:
    made = sensor("batch_of_another_workspace", 3, missing_after=0.2, max_failed=3, timeout=1)
    with pytest.raises(ExtendBatchTimeoutError, match="Not one run was ever listed"):
        run(made, Task().attempt())


def test_airflows_setting_decides_to_defer_unless_the_argument_is_given() -> None:
    made = """
from airflow.sdk import DAG
from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.sensors.batch import ExtendBatchSensor
run = ExtendRunWorkflowOperator(task_id="run", workflow_id="w", raw_texts=["t"])
submit = ExtendSubmitBatchOperator(task_id="submit", workflow_id="w", inputs=[{"file": {"text": "t"}}])
wait = ExtendBatchSensor(task_id="wait", batch_id="b", run_count=1)
given = ExtendBatchSensor(task_id="given", batch_id="b", run_count=1, deferrable=False)
print([each.deferrable for each in (run, submit, wait, given)])
"""
    environment = {**os.environ, "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"}
    printed = subprocess.run(
        [sys.executable, "-c", made], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines()[-1] == "[True, True, True, False]"
    assert not ExtendBatchSensor(task_id="wait", batch_id="b", run_count=1).deferrable, "Airflow's default"


def test_soft_fail_does_not_skip_when_the_trigger_broke() -> None:
    made = sensor("batch_1", 1, soft_fail=True)
    with pytest.raises(TaskDeferralError):
        made.resume_execution(TRIGGER_FAIL_REPR, {"error": "Trigger failure"}, Task().attempt())
    with pytest.raises(ExtendError, match="without an event"):
        made.resume_execution("execute_complete", {"event": None}, Task().attempt())


def test_never_fail_skips_on_whatever_the_trigger_reports() -> None:
    made = sensor("batch_1", 1, never_fail=True)
    with pytest.raises(AirflowSkipException):
        made.resume_execution("execute_complete", {"event": None}, Task().attempt())


def test_batch_errors_are_no_airflow_exceptions_but_the_timeout() -> None:
    assert not issubclass(ExtendBatchError, AirflowException)
    assert issubclass(ExtendBatchTimeoutError, (ExtendBatchError, AirflowSensorTimeout))


def test_the_event_alone_carries_the_end() -> None:
    """dag.test() drops every other argument of a deferral (B.1 #15 of the platform notes)."""
    event = PollResult.from_event(
        {"outcome": "done", "message": "1 of 1 settled", "progress": {"settled": 1}}
    ).as_event()
    task = Task()
    resumed = sensor("batch_1", 1).resume_execution("execute_complete", {"event": event}, task.attempt())
    assert resumed == task.xcoms["progress"] == {"settled": 1}


def test_poking_ends_no_later_than_the_deadline_and_polls_rarely(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    made = sensor(submit(1), 1, timeout=2.0, poke_interval=600)
    started = time.monotonic()
    with pytest.raises(ExtendBatchTimeoutError):
        run_poking(made, Task().attempt())
    assert time.monotonic() - started < 4
    assert extend_api.requests_to(LISTING) <= 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"on_needs_review": "ignore"}, "on_needs_review is 'ignore'", id="policy"),
        pytest.param({"on_timeout": "kill"}, "on_timeout is 'kill'", id="fate"),
        pytest.param({"run_count": -1}, "run_count is -1", id="count"),
        pytest.param({"poke_interval": 0}, "poke_interval is 0", id="interval"),
        pytest.param({"max_failed": -1}, "max_failed is -1", id="max-failed"),
        pytest.param({"max_failed_ratio": 1.1}, "max_failed_ratio is 1.1", id="ratio"),
        pytest.param({"missing_after": 0}, "missing_after is 0", id="missing"),
    ],
)
def test_wrong_literals_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ExtendInputError, match=says):
        sensor(**{"batch_id": "b", "run_count": 1, **arguments})


def test_a_wrong_policy_from_a_template_is_refused_before_any_request(extend_api: ExtendApi) -> None:
    made = sensor("batch_1", 1, on_needs_review="{{ params.policy }}")
    made.on_needs_review = "ignore"  # type: ignore[assignment]  # what rendering made of it
    with pytest.raises(ExtendInputError, match="'land', 'wait', 'fail'"):
        made.execute(Task().attempt())
    assert extend_api.requests_to(LISTING) == 0
