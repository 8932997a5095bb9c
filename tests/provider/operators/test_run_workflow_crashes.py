"""The run operator when an answer is lost, a worker dies or Extend asks to wait: each file is sent once."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from extend_provider.batch.cancellation import RemoteWork, cancel
from extend_provider.batch.orphans import IdempotencyKey, Orphan
from extend_provider.client.models import FileInput
from extend_provider.client.pacing.limits import forget_limits
from extend_provider.exceptions import (
    ExtendUnclearSubmissionError,
)
from extend_provider.hooks.extend import ExtendHook
from extend_provider.triggers.submission import ExtendSubmissionTrigger
from fixtures.extend.api import ExtendApi
from fixtures.tasks.run_workflow import CREATION, attempted, named, operator, times_sent
from fixtures.tasks.submit_batch import WorkerKilled
from fixtures.tasks.task_support import Task, TaskInstance, carried_over, resume, run_deferred, run_on


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("when", ["before the request", "after the request", "after the record"])
@pytest.mark.parametrize("then", ["retry", "clear on 3.3", "clear on 3.4"])
def test_a_kill_at_the_third_of_four_files_sends_each_file_once(
    when: str, then: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, files = Task(retries=1), named(4)
    made = operator(files=files, retries=1)
    create_runs, calls = ExtendHook.create_runs, []

    def killed(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == (4 if when == "after the record" else 3):
            if when == "after the request":
                create_runs(*arguments, **options)
            raise WorkerKilled
        return create_runs(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(ExtendHook, "create_runs", killed)
        with pytest.raises(WorkerKilled):
            made.execute(task.attempt())
    if then != "retry":
        task.clear(keeps_state=then == "clear on 3.3")
    results = run_deferred(made, task.attempt())
    assert [each["name"] for each in results] == [f"{index}.txt" for index in range(4)]
    assert times_sent(extend_api, 4) == {f"{index}.txt": 1 for index in range(4)}
    assert extend_api.requests_to(CREATION) == 4


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("step", range(1, 9))
def test_a_worker_that_dies_anywhere_sends_each_file_once(
    step: int, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, files = Task(retries=3), named(2)
    made = operator(files=files, retries=3)
    count = itertools.count(1)

    def dying(call: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if not after and next(count) == step:
                raise WorkerKilled
            result = call(*arguments, **options)
            if after and next(count) == step:
                raise WorkerKilled
            return result

        return wrapped

    with monkeypatch.context() as patched:
        patched.setattr(task.store, "set", dying(task.store.set, after=False))
        patched.setattr(ExtendHook, "create_runs", dying(ExtendHook.create_runs, after=True))
        with pytest.raises((WorkerKilled, TaskDeferred)):
            made.execute(task.attempt())
    results = run_deferred(made, task.attempt())
    assert [each["name"] for each in results] == ["0.txt", "1.txt"]
    assert times_sent(extend_api, 2) == {"0.txt": 1, "1.txt": 1}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("api_version", ["2026-02-09", "2025-04-21"])
@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "lost"])
@pytest.mark.parametrize("kind", ["error", "drop"])
def test_a_lost_answer_is_recovered_from_and_nothing_is_sent_twice(
    kind: str, accepted: bool, api_version: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = extend_api.connection_json(api_version, timeout=1, acceptance_window=1, listing_grace=1)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", connection)
    task, files = Task(retries=1), named(3)
    fault = {"endpoint": CREATION, "kind": kind, "accepted": accepted, "count": 1}
    skip = 0 if api_version == "2025-04-21" else 1
    extend_api.configure(faults=[{**fault, "skip": skip}], listing_lag_seconds=0.5, listing_lag_halves=True)
    made = operator(files=files, retries=1)
    results = attempted(made, task)
    assert [each["name"] for each in results] == ["0.txt", "1.txt", "2.txt"]
    assert times_sent(extend_api, 3) == {"0.txt": 1, "1.txt": 1, "2.txt": 1}
    assert task.xcoms["run_ids"] == [each["id"] for each in results]


def test_single_runs_are_told_from_those_of_another_task_and_from_batches(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT",
        extend_api.connection_json(timeout=1, acceptance_window=1, listing_grace=1),
    )
    extend_api.configure(faults=[{"endpoint": CREATION, "kind": "drop", "accepted": False}])
    task, other = Task(retries=1), Task()
    made = operator(raw_texts=["one"], retries=1)
    with contextlib.suppress(ExtendUnclearSubmissionError, TaskDeferred):
        made.execute(task.attempt())
    context = other.attempt()
    context["ti"].task_id = "another"
    (of_another,) = run_deferred(operator(raw_texts=["one"]), context)
    extend_api.submit_batch([{"file": {"text": "t"}}])
    (result,) = run_on(made, task.attempt())
    assert result["id"] != of_another["id"]


def test_a_rate_limit_defers_the_task_which_continues_with_the_next_file(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = {"endpoint": CREATION, "kind": "rate_limit", "retry_after": 600, "skip": 1, "count": 1}
    extend_api.configure(faults=[limit], hold=True, cancelling_seconds=0)
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)
    task = Task()
    made, context = operator(raw_texts=["one", "two", "three"]), task.attempt()
    with pytest.raises(TaskDeferred) as deferred:
        made.execute(context)
    trigger = carried_over(deferred.value.trigger)
    assert isinstance(trigger, ExtendSubmissionTrigger)
    assert trigger.at >= time.time() + 500
    assert trigger.work == RemoteWork("extend_default", run_ids=tuple(task.xcoms["run_ids"]))
    assert len(task.xcoms["run_ids"]) == 1
    extend_api.configure(hold=False)
    forget_limits()  # a task goes on in a new process
    with pytest.raises(TaskDeferred) as waiting:
        copy.copy(made).resume_execution(deferred.value.method_name, {"event": trigger.state}, context)
    assert [each["status"] for each in resume(made, waiting.value, context)] == ["PROCESSED"] * 3
    assert extend_api.requests_to(CREATION) == 4


def test_the_tries_of_one_file_do_not_count_for_the_next(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.SUBMISSION_ATTEMPTS", 2)
    limit = {"endpoint": CREATION, "kind": "rate_limit", "count": 1}
    extend_api.configure(faults=[{**limit, "retry_after": 600}])
    made, context = operator(raw_texts=["one", "two"]), Task().attempt()
    with pytest.raises(TaskDeferred) as deferred:
        made.execute(context)
    trigger = carried_over(deferred.value.trigger)
    extend_api.configure(faults=[{**limit, "retry_after": 0, "skip": 1}])
    forget_limits()  # a task goes on in a new process
    with pytest.raises(TaskDeferred) as waiting:
        copy.copy(made).resume_execution(deferred.value.method_name, {"event": trigger.state}, context)
    assert [each["status"] for each in resume(made, waiting.value, context)] == ["PROCESSED"] * 2
    assert extend_api.requests_to(CREATION) == 4


def test_while_a_file_is_sent_a_kill_finds_its_run_and_those_before_it(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_runs, works = ExtendHook.create_runs, []
    made, task = operator(raw_texts=["one", "two"], wait_for_completion=False), Task()

    def noted(*arguments: Any, **options: Any) -> Any:
        assert made.owned_work is not None
        works.append(made.owned_work[0])
        return create_runs(*arguments, **options)

    monkeypatch.setattr(ExtendHook, "create_runs", noted)
    first, _ = made.execute(task.attempt())
    assert [work.run_ids for work in works] == [(), (first["id"],)]
    assert all(work.orphan is not None for work in works)


async def test_runs_created_before_a_rate_limit_are_cancelled_with_their_task(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: {"run": {"task": "failed"}})
    limit = {"endpoint": CREATION, "kind": "rate_limit", "retry_after": 600, "skip": 2, "count": 1}
    extend_api.configure(faults=[limit], hold=True, cancelling_seconds=0)
    with pytest.raises(TaskDeferred) as deferred:
        operator(raw_texts=["one", "two", "three"]).execute(Task().attempt())
    trigger = carried_over(deferred.value.trigger)
    trigger._task_instance = TaskInstance()
    await trigger.on_kill()
    assert extend_api.stats()["runs"] == {"CANCELLED": 2}


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "lost"])
async def test_an_orphan_is_cancelled_with_the_runs_that_are_known(
    accepted: bool, extend_api: ExtendApi
) -> None:
    extend_api.configure(hold=True, cancelling_seconds=0)
    since = datetime.now(UTC)
    until = since + timedelta(seconds=1)
    with ExtendHook() as hook:
        known = hook.create_run("workflow_invoices", FileInput(text="one"))
        if accepted:
            hook.create_run(
                "workflow_invoices", FileInput(text="two"), metadata={"airflow_submission": "a/2:1/f"}
            )
    mark = IdempotencyKey({"airflow_submission": "a/2:*"})
    orphan = Orphan("workflow_invoices", mark, since.isoformat(), until.isoformat(), runs=1)
    work = RemoteWork("extend_default", run_ids=(known.id,), orphan=orphan)
    assert RemoteWork.from_json(json.loads(json.dumps(work.to_json()))) == work
    outcome = await cancel(work)
    assert outcome.complete, str(outcome)
    assert extend_api.stats()["runs"] == {"CANCELLED": 2 if accepted else 1}
