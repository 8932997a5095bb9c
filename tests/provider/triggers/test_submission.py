"""A submission that cannot go on yet gives its worker back: until when, with what, and what a kill does."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.orphans import IdempotencyKey, Orphan
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.triggers.submission import ExtendSubmissionTrigger
from fixtures.extend.api import ExtendApi
from fixtures.tasks.task_support import Task, carried_over, run_deferred

SUBMISSION = "POST /workflow_runs/batch"
NOT_ACCEPTED = {"endpoint": SUBMISSION, "kind": "error", "accepted": False}


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(extend_api, monkeypatch, grace=600)
    extend_api.configure(synthetic=True)


def connect(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch, *, grace: float) -> None:
    made = extend_api.connection_json(timeout=1, acceptance_window=1, listing_grace=grace)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", made)


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)


def operator(**arguments: Any) -> ExtendSubmitBatchOperator:
    inputs = [{"file": {"text": "t"}, "metadata": {"document_id": "d"}}]
    arguments = {"deferrable": True, **arguments}
    return ExtendSubmitBatchOperator(
        task_id="submit", workflow_id="workflow_invoices", inputs=inputs, **arguments
    )


def rate_limit(extend_api: ExtendApi, retry_after: float, count: int = 1) -> None:
    limit = {"endpoint": SUBMISSION, "kind": "rate_limit", "retry_after": retry_after, "count": count}
    extend_api.configure(faults=[limit])


def test_a_rate_limit_defers_the_submission(extend_api: ExtendApi) -> None:
    rate_limit(extend_api, 600)
    begun = time.time()
    context = Task().attempt()
    context["ti"].start_date -= timedelta(minutes=20)
    with pytest.raises(TaskDeferred) as deferred:
        operator(execution_timeout=timedelta(hours=1)).execute(context)
    trigger = carried_over(deferred.value.trigger)
    assert trigger.at >= begun + 600
    assert trigger.state == {"turned_away": 1}
    assert deferred.value.timeout == pytest.approx(timedelta(minutes=40), abs=timedelta(minutes=1))
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


@pytest.mark.usefixtures("no_patience")
def test_a_rate_limited_submission_is_sent_once_later(extend_api: ExtendApi) -> None:
    rate_limit(extend_api, 0.1, count=2)
    task = Task()
    assert run_deferred(operator(), task.attempt()) is not None
    assert task.xcoms == {"run_count": 1}
    assert extend_api.stats()["requests"] == {SUBMISSION: 3}
    assert extend_api.stats()["runs_created"] == {"d": 1}


@pytest.mark.usefixtures("no_patience")
def test_a_submission_that_must_not_defer_waits_in_the_worker(extend_api: ExtendApi) -> None:
    rate_limit(extend_api, 0.1)
    assert operator(deferrable=False).execute(Task().attempt()) is not None


def test_the_absence_of_a_batch_is_proven_without_a_worker(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    extend_api.configure(faults=[NOT_ACCEPTED])
    task = Task(retries=3)
    for keeps_state in (True, False):
        with pytest.raises(TaskDeferred):
            operator(retries=3).execute(task.attempt())
        task.clear(keeps_state=keeps_state)
    assert extend_api.requests_to(SUBMISSION) == 1, "sent again before its absence was proven"
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)
    connect(extend_api, monkeypatch, grace=1)
    assert run_deferred(operator(retries=3), task.attempt()) is not None
    assert extend_api.requests_to(SUBMISSION) == 2
    assert extend_api.stats()["runs_created"] == {"d": 1}


def test_the_trigger_reports_at_its_time_and_not_before_airflow_expects_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.3)

    async def report(at: float) -> tuple[float, Any]:
        trigger = carried_over(
            ExtendSubmissionTrigger(at=at, state={"turned_away": 2, "policy": {"a": None}})
        )
        async for event in trigger.run():
            return time.time(), json.loads(json.dumps(event.payload))
        raise AssertionError("no event")

    now = time.time()
    reported_at, payload = asyncio.run(report(now + 0.5))
    assert reported_at >= now + 0.5
    assert payload == {"turned_away": 2, "policy": {"a": None}}
    now = time.time()
    assert asyncio.run(report(now - 100))[0] >= now + 0.3


#: What 0.1.0 stored of a batch whose answer was lost.
STORED_WORK: dict[str, Any] = {
    "conn_id": "extend_default",
    "batch_id": None,
    "run_count": 2,
    "run_ids": [],
    "followers": "file:///workspace/followers",
    "sought": {
        "workflow_id": "workflow_invoices",
        "mark": {"patterns": {"airflow_submission": "s-1 *"}},
        "since": "2026-11-26T10:00:00+00:00",
        "until": "2026-11-26T10:07:00+00:00",
        "runs": None,
    },
}
ORPHAN = Orphan(
    workflow_id="workflow_invoices",
    key=IdempotencyKey({"airflow_submission": "s-1 *"}),
    since="2026-11-26T10:00:00+00:00",
    until="2026-11-26T10:07:00+00:00",
)
WORK = RemoteWork("extend_default", run_count=2, waiters="file:///workspace/followers", orphan=ORPHAN)


@pytest.mark.parametrize(("stored", "work"), [(STORED_WORK, WORK), (None, None)], ids=["unclear", "not sent"])
def test_a_task_that_an_earlier_release_deferred_resumes(
    monkeypatch: pytest.MonkeyPatch, stored: dict[str, Any] | None, work: RemoteWork | None
) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)
    path, state = "extend_provider.triggers.later.ExtendLaterTrigger", {"turned_away": 1}
    arguments = {"at": 1.7e9, "state": state, "work": stored, "cancel_on_kill": True, "owner": "token"}
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**arguments)
    assert (trigger.work, trigger.owner, trigger.cancel_on_kill) == (work, "token", True)
    assert carried_over(trigger).work == work

    async def report() -> list[Any]:
        return [event.payload async for event in trigger.run()]

    assert asyncio.run(report()) == [state]
