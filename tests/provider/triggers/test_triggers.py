"""The triggers as the triggerer runs them: real generators, against the emulator."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytest
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.waiting.polling import Outcome, PollResult
from extend_provider.batch.waiting.progress import RunRecords
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.exceptions import ExtendAuthError
from extend_provider.hooks.extend import ExtendHook
from extend_provider.triggers.base import ExtendWaitTrigger
from extend_provider.triggers.batch import ExtendBatchTrigger
from extend_provider.triggers.run import ExtendRunTrigger
from fixtures.extend.api import ExtendApi
from fixtures.tasks.heartbeat import heartbeat
from fixtures.tasks.task_support import TaskInstance, carried_over
from fixtures.tasks.triggers import batch_trigger, fire, policy

LISTING = "GET /workflow_runs"
CANCEL = "POST /workflow_runs/{id}/cancel"
HEARTBEAT = "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True)


def submit(count: int) -> str:
    inputs = [BatchInput(FileInput(text=f"text {index}", name=f"{index}.txt")) for index in range(count)]
    with ExtendHook() as hook:
        return hook.create_batch("workflow_invoices", inputs)


async def test_a_settled_batch_is_reported_with_its_counts() -> None:
    ended = await fire(batch_trigger(submit(5), 5))
    assert ended.outcome is Outcome.DONE
    assert ended.progress is not None
    assert ended.progress["by_status"] == {"PROCESSED": 5}
    assert ended.dashboard_url is not None
    assert ended.dashboard_url.startswith("https://")


async def test_a_trigger_reports_after_airflow_has_recorded_the_workers_exit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.8)
    began = time.monotonic()
    assert (await fire(batch_trigger(submit(1), 1))).outcome is Outcome.DONE
    assert time.monotonic() - began >= 0.8


@pytest.mark.parametrize(("setting", "earliest"), [({}, 7.0), ({HEARTBEAT: "1"}, 3.0)])
def test_airflow_records_a_workers_exit_with_the_next_heartbeat_at_the_latest(
    setting: Mapping[str, str], earliest: float
) -> None:
    asked = "from extend_provider.triggers import base; print(base.EARLIEST_REPORT_SECONDS)"
    inherited = {name: value for name, value in os.environ.items() if name != HEARTBEAT}
    answer = subprocess.run(
        [sys.executable, "-c", asked],
        env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **setting},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(answer.stdout.splitlines()[-1]) == earliest


async def test_listing_lag_short_pages_repeats_and_shuffles_change_no_count(extend_api: ExtendApi) -> None:
    extend_api.configure(
        listing_lag_seconds=0.8,
        listing_lag_halves=True,
        max_page_size=7,
        repeat_between_pages=2,
        shuffle_pages=True,
    )
    ended = await fire(batch_trigger(submit(40), 40))
    assert ended.progress is not None
    assert (ended.outcome, ended.progress["listed"], ended.progress["settled"]) == (Outcome.DONE, 40, 40)


async def test_a_run_never_listed_is_waited_for_until_the_deadline() -> None:
    started = time.monotonic()
    ended = await fire(batch_trigger(submit(2), 3, seconds=0.6))
    assert ended.outcome is Outcome.TIMED_OUT
    assert "2 of 3 settled" in ended.message
    assert 0.5 < time.monotonic() - started < 3


async def test_the_deadline_survives_a_restarted_triggerer(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    first = batch_trigger(submit(1), 1, seconds=0.4)
    await asyncio.sleep(0.5)
    second = carried_over(first)
    assert second.policy == first.policy
    assert (await fire(second)).outcome is Outcome.TIMED_OUT


async def test_a_batch_that_settled_while_no_triggerer_ran_is_done_after_the_deadline() -> None:
    batch_id = submit(1)
    await asyncio.sleep(0.3)
    assert (await fire(batch_trigger(batch_id, 1, seconds=-5))).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("on_needs_review", "outcome"),
    [("land", Outcome.DONE), ("fail", Outcome.FAILED_REVIEW), ("wait", Outcome.TIMED_OUT)],
)
async def test_runs_in_review_are_handled_by_the_policy(
    extend_api: ExtendApi, on_needs_review: str, outcome: Outcome
) -> None:
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW", "name_glob": "0.txt"}])
    ended = await fire(batch_trigger(submit(3), 3, seconds=0.8, on_needs_review=on_needs_review))
    assert ended.outcome is outcome
    assert ended.progress is not None
    assert ended.progress["by_status"] == {"NEEDS_REVIEW": 1, "PROCESSED": 2}


async def test_wait_ends_when_the_reviewer_has_decided(extend_api: ExtendApi) -> None:
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW"}])
    batch_id = submit(1)
    trigger = asyncio.ensure_future(fire(batch_trigger(batch_id, 1, on_needs_review="wait")))
    await asyncio.sleep(0.5)
    assert not trigger.done()
    with ExtendHook() as hook:
        (run,) = next(iter(hook.iter_run_pages(batch_id=batch_id)))
    extend_api.review(run.id, "approve")
    ended = await trigger
    assert ended.outcome is Outcome.DONE
    assert ended.progress is not None
    assert ended.progress["by_status"] == {"PROCESSED": 1}


async def test_an_unknown_status_is_not_yet_and_is_logged(
    extend_api: ExtendApi, capsys: pytest.CaptureFixture[str]
) -> None:
    extend_api.configure(outcomes=[{"status": "QUARANTINED"}])
    ended = await fire(batch_trigger(submit(1), 1, seconds=0.6))
    assert ended.outcome is Outcome.TIMED_OUT
    assert "unknown status 'QUARANTINED'" in capsys.readouterr().out


async def test_server_faults_dropped_connections_and_rate_limits_are_tolerated(
    extend_api: ExtendApi,
) -> None:
    batch_id = submit(2)
    extend_api.configure(
        faults=[
            {"endpoint": LISTING, "kind": "error", "status": 503},
            {"endpoint": LISTING, "kind": "drop"},
            {"endpoint": LISTING, "kind": "rate_limit", "retry_after": 0.1},
            {"endpoint": LISTING, "kind": "malformed"},
        ]
    )
    assert (await fire(batch_trigger(batch_id, 2))).outcome is Outcome.DONE


async def test_a_wrong_key_is_reported_at_once_with_its_type(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = submit(1)
    wrong = dataclasses.replace(extend_api, key="sk_wrong_5ecre7")
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", wrong.connection_json())
    started = time.monotonic()
    ended = await fire(batch_trigger(batch_id, 1, seconds=60))
    assert time.monotonic() - started < 5
    assert ended.outcome is Outcome.GAVE_UP
    failure = ended.failure("Batch", "")
    assert isinstance(failure, ExtendAuthError)
    assert failure.status == 401
    assert "5ecre7" not in str(failure)


async def test_an_unknown_connection_is_reported_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend_provider.hooks.extend_async.MISSING_SECONDS", 0.0)
    trigger = ExtendBatchTrigger(batch_id="b", run_count=1, extend_conn_id="no_such", policy=policy())
    ended = await fire(trigger)
    assert ended.outcome is Outcome.GAVE_UP
    assert "no_such" in ended.message


async def test_an_answer_slower_than_the_deadline_is_a_timeout(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.LAST_POLL_SECONDS", 0.2)
    batch_id = submit(1)
    extend_api.configure(faults=[{"endpoint": LISTING, "kind": "slow", "seconds": 2, "count": None}])
    started = time.monotonic()
    assert (await fire(batch_trigger(batch_id, 1, seconds=0.3))).outcome is Outcome.TIMED_OUT
    assert time.monotonic() - started < 3


async def test_a_cancellation_passes_through_and_the_loop_is_never_blocked(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    task = asyncio.ensure_future(fire(batch_trigger(submit(1), 1)))
    async with heartbeat() as beat:
        while not task.done() and await asyncio.to_thread(extend_api.requests_to, LISTING) < 3:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert beat.held_up < 0.2  # [triggerer] blocked_main_thread_warning_threshold


async def test_progress_and_link_are_published_while_deferred(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend_api.configure(latency_seconds=0.4, max_concurrent_runs=1)
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(BaseXCom, "set", lambda **arguments: published.append(arguments))
    trigger = batch_trigger(submit(2), 2)
    trigger._task_instance = TaskInstance(map_index=3)
    assert (await fire(trigger)).outcome is Outcome.DONE

    told = [xcom["value"]["summary"] for xcom in published if xcom["key"] == "progress"]
    assert told[0].startswith("0 of 2 settled")
    assert told[-1] == "2 of 2 settled"
    assert len(told) == len(set(told)), "told on change only"
    assert {xcom["key"] for xcom in published} == {"progress", "dashboard_url"}
    assert {(xcom["dag_id"], xcom["task_id"], xcom["run_id"], xcom["map_index"]) for xcom in published} == {
        ("dag", "task", "run", 3)
    }


async def test_a_triggerer_slow_to_publish_does_not_hold_up_the_wait(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend_api.configure(latency_seconds=0.2, max_concurrent_runs=1)
    monkeypatch.setattr("extend_provider.triggers.progress.FLUSH_SECONDS", 0.1)
    monkeypatch.setattr(BaseXCom, "set", lambda **arguments: time.sleep(1.5))
    trigger = batch_trigger(submit(4), 4)
    trigger._task_instance = TaskInstance()
    started = time.monotonic()
    assert (await fire(trigger)).outcome is Outcome.DONE
    assert time.monotonic() - started < 1.5


async def test_a_failure_to_publish_does_not_break_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**arguments: Any) -> None:
        raise RuntimeError("no supervisor")

    monkeypatch.setattr(BaseXCom, "set", broken)
    trigger = batch_trigger(submit(1), 1)
    trigger._task_instance = TaskInstance()
    assert (await fire(trigger)).outcome is Outcome.DONE


class Airflow:
    """Airflow's answer to the question for the states of task instances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[str, str | None] = {"task": "failed"}
        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", self.get_task_states)

    def get_task_states(self, **asked: Any) -> dict[str, Any]:
        assert asked == {"dag_id": "dag", "task_ids": ["task"], "run_ids": ["run"], "map_index": -1}
        return {"run": self.rows} if self.rows else {}


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    return Airflow(monkeypatch)


async def killed(trigger: ExtendWaitTrigger) -> None:
    """Do what the triggerer of Airflow 3.3.2 does: it cancels ``on_kill`` again about once a second."""
    trigger._task_instance = TaskInstance()

    async def run_trigger() -> None:
        try:
            await asyncio.wait_for(trigger.on_kill(), timeout=30)
        except asyncio.CancelledError:
            pass
        finally:
            await trigger.cleanup()

    task = asyncio.ensure_future(run_trigger())
    while not task.done():
        await asyncio.wait({task}, timeout=0.2)
        task.cancel("user-action")


def run_trigger_of(batch_id: str) -> ExtendRunTrigger:
    with ExtendHook() as hook:
        runs = [
            RunRecords.record(run, None)
            for page in hook.iter_run_pages(batch_id=batch_id)
            for run in [hook.get_run(each.id) for each in page]
        ]
    return ExtendRunTrigger(runs=runs, extend_conn_id="extend_default", policy=policy())


@pytest.mark.parametrize("single_runs", [False, True], ids=["batch", "runs"])
@pytest.mark.parametrize("rows", [{"task": "failed"}, {"task": "success"}, {"task": "skipped"}, {}], ids=str)
async def test_an_ended_task_is_cancelled_although_the_triggerer_interrupts(
    rows: dict[str, str | None], single_runs: bool, airflow: Airflow, extend_api: ExtendApi
) -> None:
    extend_api.configure(hold=True, cancelling_seconds=0)
    batch_id = submit(12)
    trigger = run_trigger_of(batch_id) if single_runs else batch_trigger(batch_id, 12)
    extend_api.configure(faults=[{"endpoint": CANCEL, "kind": "slow", "seconds": 0.4, "count": None}])
    airflow.rows = rows
    await killed(trigger)
    assert extend_api.stats()["runs"] == {"CANCELLED": 12}
    assert extend_api.requests_to(CANCEL) == 12


@pytest.mark.parametrize(
    "state", [None, "scheduled", "queued", "running", "deferred", "restarting", "up_for_retry"]
)
async def test_a_batch_that_another_attempt_owns_is_not_cancelled(
    state: str | None, airflow: Airflow, extend_api: ExtendApi
) -> None:
    extend_api.configure(hold=True)
    airflow.rows = {"task": state}
    await killed(batch_trigger(submit(2), 2))
    assert extend_api.stats()["runs"] == {"PENDING": 2}


async def test_a_failed_state_check_cancels_nothing_and_logs_the_command(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(**asked: Any) -> Any:
        raise ConnectionError("no supervisor")

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", broken)
    extend_api.configure(hold=True)
    batch_id = submit(2)
    await killed(batch_trigger(batch_id, 2))
    assert extend_api.stats()["runs"] == {"PENDING": 2}
    assert f"airflow extend cancel --batch-id {batch_id}" in capsys.readouterr().out


async def test_a_trigger_without_cancel_on_kill_cancels_nothing(
    airflow: Airflow, extend_api: ExtendApi
) -> None:
    extend_api.configure(hold=True)
    trigger = ExtendBatchTrigger(
        batch_id=submit(1),
        run_count=1,
        extend_conn_id="extend_default",
        policy=policy(),
        cancel_on_kill=False,
    )
    await killed(trigger)
    assert extend_api.stats()["runs"] == {"PENDING": 1}


async def test_serialized_triggers_are_small_and_round_trip() -> None:
    run = {"id": "workflow_run_1", "status": "PENDING", "dashboard_url": None, "name": "a", "failure": None}
    triggers: list[ExtendWaitTrigger] = [
        batch_trigger("batch_1", 1000, on_needs_review="fail", max_poll_errors=3),
        ExtendRunTrigger(runs=[run], extend_conn_id="extend_default", policy=policy()),
    ]
    for trigger in triggers:
        assert carried_over(trigger).serialize() == trigger.serialize()
        assert len(json.dumps(trigger.serialize())) < 500


async def test_single_runs_are_polled_by_their_ids(extend_api: ExtendApi) -> None:
    extend_api.configure(
        latency_seconds=0.3, outcomes=[{"status": "FAILED", "name_glob": "b*", "message": "it broke"}]
    )
    with ExtendHook() as hook:
        records = [
            RunRecords.record(hook.create_run("workflow_invoices", FileInput(text="t", name=name)), name)
            for name in ("a.txt", "b.txt")
        ]
    trigger = ExtendRunTrigger(runs=records, extend_conn_id="extend_default", policy=policy())
    ended = await fire(carried_over(trigger))
    assert ended.outcome is Outcome.DONE
    assert [(run["name"], run["status"]) for run in ended.runs] == [
        ("a.txt", "PROCESSED"),
        ("b.txt", "FAILED"),
    ]
    assert ended.runs[1]["failure"] == "INTERNAL_ERROR: it broke"


async def test_a_run_that_is_gone_ends_the_wait() -> None:
    record = {
        "id": "workflow_run_gone",
        "status": "PENDING",
        "dashboard_url": None,
        "name": None,
        "failure": None,
    }
    ended = await fire(ExtendRunTrigger(runs=[record], extend_conn_id="extend_default", policy=policy()))
    assert ended.outcome is Outcome.GAVE_UP
    assert ended.error is not None
    assert ended.error["type"] == "ExtendNotFoundError"
    assert [run["id"] for run in ended.runs] == ["workflow_run_gone"]


def test_a_deferred_task_of_the_release_before_is_read() -> None:
    policy = {"deadline": 1.8e9, "poll_interval": 60, "on_needs_review": "land", "max_poll_errors": None}
    stored: dict[str, Any] = {
        "batch_id": "batch_1",
        "run_count": 2,
        "followers": "file:///workspace/followers",
        "extend_conn_id": "extend_default",
        "cancel_on_kill": True,
        "owner": "token",
        "policy": {**policy, "limit": "timeout", "missing_after": 3600.0},
    }
    trigger = ExtendBatchTrigger(**stored)
    assert trigger.work == RemoteWork("extend_default", "batch_1", 2, waiters="file:///workspace/followers")
    assert trigger.serialize() == ("extend_provider.triggers.batch.ExtendBatchTrigger", stored)
    event = {"outcome": "short", "message": "1 of 2 settled", "progress": {"listed": 1}, "error": None}
    assert PollResult.from_event({**event, "runs": [], "limit": "timeout"}).outcome is Outcome.RUNS_MISSING
