"""The run operator: the whole of the "Run Workflow" request, waiting, retries, refusals."""

from __future__ import annotations

import collections
import contextlib
import copy
import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance, _serialize_rendered_fields

from extend_provider.batch.cancellation import RemoteWork, cancel
from extend_provider.batch.orphans import Mark, Sought
from extend_provider.client.models import FileInput
from extend_provider.exceptions import (
    ExtendBatchError,
    ExtendError,
    ExtendInputError,
    ExtendNotFoundError,
    ExtendUnclearSubmissionError,
)
from extend_provider.hooks.extend import ExtendHook
from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator
from extend_provider.triggers.submission import ExtendLaterTrigger
from fixtures.extend_api import ExtendApi
from fixtures.task_support import Task, TaskInstance, carried_over, resume, run_deferred, run_on

CREATION = "POST /workflow_runs"
Run = Callable[[ExtendRunWorkflowOperator, Any], Any]


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True)


@pytest.fixture
def file_ids() -> list[str]:
    with ExtendHook() as hook:
        return [hook.upload_file(f"{index}.txt", f"text {index}".encode()).id for index in range(3)]


def operator(**arguments: Any) -> ExtendRunWorkflowOperator:
    defaults: dict[str, Any] = {"task_id": "run", "workflow_id": "workflow_invoices", "deferrable": True}
    defaults.update(poll_interval=0.1, timeout=20)
    return ExtendRunWorkflowOperator(**{**defaults, **arguments})


def run_in_worker(made: ExtendRunWorkflowOperator, context: Any) -> Any:
    made.deferrable = False
    return made.execute(context)


MODES = pytest.mark.parametrize(
    "run", [pytest.param(run_deferred, id="deferred"), pytest.param(run_in_worker, id="worker")]
)


@MODES
@pytest.mark.parametrize(("api_version", "requests"), [("2026-02-09", 3), ("2025-04-21", 1)])
def test_a_run_per_file_is_created_and_waited_for(
    run: Run,
    api_version: str,
    requests: int,
    file_ids: list[str],
    extend_api: ExtendApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json(api_version))
    extend_api.configure(latency_seconds=0.2)
    task = Task()
    made = operator(files=[{"file_id": file_id} for file_id in file_ids])
    results = run(made, task.attempt())

    assert [(result["status"], result["name"]) for result in results] == [
        ("PROCESSED", "0.txt"),
        ("PROCESSED", "1.txt"),
        ("PROCESSED", "2.txt"),
    ]
    assert all(set(result) == {"id", "status", "dashboard_url", "name"} for result in results)
    assert task.xcoms["run_ids"] == [result["id"] for result in results]
    assert task.xcoms["dashboard_url"] == results[0]["dashboard_url"]
    assert extend_api.requests_to(CREATION) == requests


def test_everything_the_request_can_say_is_said(file_ids: list[str], extend_api: ExtendApi) -> None:
    extend_api.configure(synthetic=False)
    outputs = [{"processorId": "cl_documents", "output": {"id": "receipt", "type": "receipt"}}]
    made = operator(
        workflow_id="workflow_mixed",
        files=[{"file_id": file_ids[0], "outputs": outputs}],
        name="night",
        version="draft",
        priority=7,
        metadata={"customer": "acme"},
        secrets={"token": "5ecre7"},
    )
    (result,) = run_deferred(made, Task().attempt())
    with ExtendHook() as hook:
        run = hook.get_run(result["id"])
    assert run.metadata["customer"] == "acme"
    assert set(run.metadata) == {"customer", "airflow_submission"}
    assert extend_api.requests_to("POST /workflow_runs/{id}") == 1, "named once it is recorded"
    assert run.workflow_version == "draft"
    assert run.workflow_id == "workflow_mixed"
    classified = [
        step.result.classification for step in run.steps if step.result and step.result.classification
    ]
    assert [each["type"] for each in classified] == ["receipt"]


@MODES
def test_raw_texts_are_sent_instead_of_files(run: Run, extend_api: ExtendApi) -> None:
    results = run(operator(raw_texts=["one", "two"]), Task().attempt())
    assert [result["status"] for result in results] == ["PROCESSED", "PROCESSED"]
    assert extend_api.requests_to(CREATION) == 2


def test_without_waiting_the_runs_are_returned_as_created(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    (result,) = operator(raw_texts=["one"], wait_for_completion=False).execute(Task().attempt())
    assert result["status"] == "PENDING"


@MODES
def test_failed_runs_fail_the_task_once_all_have_settled(
    run: Run, file_ids: list[str], extend_api: ExtendApi
) -> None:
    extend_api.configure(
        latency_seconds=0.2,
        outcomes=[
            {"status": "FAILED", "name_glob": "0.txt", "reason": "FAILED_TO_PROCESS_FILE", "message": "torn"},
            {"status": "REJECTED", "name_glob": "1.txt", "message": "not ours"},
        ],
    )
    task = Task()
    with pytest.raises(ExtendBatchError, match="2 of 3 runs did not succeed") as caught:
        run(operator(files=[{"file_id": file_id} for file_id in file_ids]), task.attempt())
    message = str(caught.value)
    first, second, third = task.xcoms["run_ids"]
    assert f"{first} (0.txt) FAILED: FAILED_TO_PROCESS_FILE: torn" in message
    assert f"{second} (1.txt) REJECTED" in message
    assert third not in message
    assert extend_api.stats()["runs"] == {"FAILED": 1, "REJECTED": 1, "PROCESSED": 1}


@MODES
@pytest.mark.parametrize(
    ("on_needs_review", "says"), [("land", None), ("fail", "1 in review"), ("wait", "deadline")]
)
def test_runs_in_review(run: Run, on_needs_review: Any, says: str | None, extend_api: ExtendApi) -> None:
    extend_api.configure(outcomes=[{"status": "NEEDS_REVIEW"}])
    made = operator(raw_texts=["one"], on_needs_review=on_needs_review, timeout=0.8)
    if says is None:
        assert run(made, Task().attempt())[0]["status"] == "NEEDS_REVIEW"
        return
    with pytest.raises(ExtendBatchError, match=says):
        run(made, Task().attempt())


@MODES
def test_a_timeout_names_the_runs_and_their_fate(run: Run, extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    task = Task()
    with pytest.raises(ExtendBatchError, match="Nothing was cancelled") as caught:
        run(operator(raw_texts=["one"], timeout=0.5), task.attempt())
    assert task.xcoms["run_ids"][0] in str(caught.value)
    assert "0 of 1 settled" in str(caught.value)


@MODES
def test_a_timeout_cancels_what_has_not_settled_if_it_is_to(run: Run, extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True, cancelling_seconds=0)
    made = operator(raw_texts=["one", "two"], timeout=0.5, on_timeout="cancel")
    with pytest.raises(ExtendBatchError, match="on_timeout='cancel': 2 runs cancelled"):
        run(made, Task().attempt())
    assert extend_api.stats()["runs"] == {"CANCELLED": 2}


@pytest.mark.parametrize(
    ("limits", "error", "left"),
    [
        pytest.param(
            {"timeout": timedelta(days=1), "execution_timeout": timedelta(seconds=0.3)},
            AirflowTaskTimeout,
            "PENDING",
            id="execution_timeout",
        ),
        pytest.param({"timeout": 0.3}, ExtendBatchError, "CANCELLED", id="timeout"),
    ],
)
@pytest.mark.parametrize("settles", [False, True], ids=["still-at-work", "settled-meanwhile"])
def test_after_an_outage_of_the_triggerer_extend_is_asked_and_the_limit_that_has_passed_decides(
    limits: dict[str, Any], error: type[BaseException], left: str, settles: bool, extend_api: ExtendApi
) -> None:
    extend_api.configure(hold=True, cancelling_seconds=0)
    context = Task().attempt()
    made = operator(raw_texts=["one"], on_timeout="cancel", **limits)
    with pytest.raises(TaskDeferred):
        made.execute(context)
    time.sleep(0.5)
    if settles:
        extend_api.configure(hold=False)
        time.sleep(0.3)
        assert silent(made, context)[0]["status"] == "PROCESSED"
        return
    with pytest.raises(error, match="0 of 1 settled"):
        silent(made, context)
    assert extend_api.stats()["runs"] == {left: 1}


def silent(made: ExtendRunWorkflowOperator, context: Any) -> Any:
    """Resume as Airflow does when no triggerer has reported in time."""
    error = {"error": TriggerFailureReason.TRIGGER_TIMEOUT}
    return copy.copy(made).resume_execution(TRIGGER_FAIL_REPR, error, context)


@MODES
def test_a_retry_waits_for_the_runs_of_the_attempt_before(run: Run, extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    task = Task(retries=1)
    made = operator(raw_texts=["one", "two"], timeout=0.4, retries=1)
    with pytest.raises(ExtendBatchError):
        run(made, task.attempt())
    first = task.xcoms["run_ids"]
    extend_api.configure(hold=False)
    made.timeout = 20

    results = run(made, task.attempt())

    assert [result["id"] for result in results] == first == task.xcoms["run_ids"]
    assert extend_api.requests_to(CREATION) == 2


CLEARS = pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="airflow-3.3"),
        pytest.param({"keeps_state": False}, id="airflow-3.4"),
        pytest.param({"running": True}, id="running"),
    ],
)


@CLEARS
def test_a_clear_takes_the_runs_up(
    how: dict[str, bool], extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT",
        extend_api.connection_json(timeout=1, acceptance_window=1, listing_grace=1),
    )
    task = Task(retries=3)
    made = operator(raw_texts=["one", "two"], retries=3)
    first = run_deferred(made, task.attempt())
    task.clear(**how)
    assert [each["id"] for each in run_deferred(made, task.attempt())] == [each["id"] for each in first]
    assert extend_api.requests_to(CREATION) == 2


@CLEARS
def test_a_clear_creates_the_runs_again_if_it_is_to_and_its_retries_do_not(
    how: dict[str, bool], extend_api: ExtendApi
) -> None:
    task = Task(retries=3)
    made = operator(raw_texts=["one"], retries=3, on_clear="resubmit")
    (first,) = run_deferred(made, task.attempt())
    task.clear(**how)
    (second,) = run_deferred(made, task.attempt())
    assert first["id"] != second["id"]
    assert run_deferred(made, task.attempt())[0]["id"] == second["id"]
    assert extend_api.requests_to(CREATION) == 2


def test_a_clear_creates_anew_what_was_cancelled(extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True)
    task = Task(retries=1)
    made = operator(raw_texts=["one", "two", "three"], retries=1, timeout=0.3)
    with pytest.raises(ExtendBatchError):
        run_deferred(made, task.attempt())
    first = task.xcoms["run_ids"]
    with ExtendHook() as hook:
        hook.cancel_run(first[1])
    extend_api.configure(hold=False)
    made.timeout = 20
    task.clear()
    results = run_deferred(made, task.attempt())
    assert [each["id"] in first for each in results] == [True, False, True]
    assert extend_api.requests_to(CREATION) == 4


class WorkerKilled(BaseException):
    """What ends a worker without any except clause running."""


@pytest.fixture
def impatient(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absence is proven three seconds after a submission."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT",
        extend_api.connection_json(timeout=1, acceptance_window=1, listing_grace=1),
    )


def times_sent(extend_api: ExtendApi, count: int) -> dict[str, int]:
    """Return how many runs there are by file name, of ``count`` files."""
    runs = extend_api.call("GET", "/workflow_runs", params={"maxPageSize": 1000}).json()["data"]
    sent = collections.Counter(file["name"] for run in runs for file in run["files"])
    return {f"{index}.txt": sent[f"{index}.txt"] for index in range(count)}


def named(count: int) -> list[dict[str, Any]]:
    with ExtendHook() as hook:
        ids = [hook.upload_file(f"{index}.txt", b"text").id for index in range(count)]
    return [{"file_id": file_id} for file_id in ids]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("when", ["before the request", "after the request", "after the record"])
@pytest.mark.parametrize("then", ["retry", "clear on 3.3", "clear on 3.4"])
def test_after_a_kill_at_the_third_of_ten_files_each_is_sent_once(
    when: str, then: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, files = Task(retries=1), named(10)
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
    assert [each["name"] for each in results] == [f"{index}.txt" for index in range(10)]
    assert times_sent(extend_api, 10) == {f"{index}.txt": 1 for index in range(10)}
    assert extend_api.requests_to(CREATION) == 10


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("step", range(1, 9))
def test_wherever_a_worker_dies_each_file_is_sent_once(
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


def attempted(made: ExtendRunWorkflowOperator, task: Task) -> Any:
    """Execute, and once more if the first attempt leaves it to a retry to look for what was lost."""
    try:
        return run_on(made, task.attempt())
    except ExtendUnclearSubmissionError:
        return run_on(made, task.attempt())


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


def test_after_a_rate_limit_the_worker_is_given_back_and_the_next_file_is_not_the_first(
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
    assert isinstance(trigger, ExtendLaterTrigger)
    assert trigger.at >= time.time() + 500
    assert trigger.work == RemoteWork("extend_default", run_ids=tuple(task.xcoms["run_ids"]))
    assert len(task.xcoms["run_ids"]) == 1
    extend_api.configure(hold=False)
    with pytest.raises(TaskDeferred) as waiting:
        copy.copy(made).resume_execution(deferred.value.method_name, {"event": trigger.state}, context)
    assert [each["status"] for each in resume(made, waiting.value, context)] == ["PROCESSED"] * 3
    assert extend_api.requests_to(CREATION) == 4


async def test_what_was_created_before_a_rate_limit_is_cancelled_with_its_task(
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
async def test_a_run_that_is_sought_is_cancelled_with_those_that_are_known(
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
    mark = Mark({"airflow_submission": "a/2:*"})
    sought = Sought("workflow_invoices", mark, since.isoformat(), until.isoformat(), runs=1)
    work = RemoteWork("extend_default", run_ids=(known.id,), sought=sought)
    assert RemoteWork.from_json(json.loads(json.dumps(work.to_json()))) == work
    outcome = await cancel(work)
    assert outcome.complete, str(outcome)
    assert extend_api.stats()["runs"] == {"CANCELLED": 2 if accepted else 1}


def test_an_unclear_answer_is_not_followed_by_another_request(extend_api: ExtendApi) -> None:
    extend_api.configure(faults=[{"endpoint": CREATION, "kind": "drop", "accepted": True}])
    task = Task(retries=1)
    made = operator(raw_texts=["one"], retries=1)
    results = attempted(made, task)
    assert [each["status"] for each in results] == ["PROCESSED"]
    assert extend_api.requests_to(CREATION) == 1


def test_after_a_clean_refusal_a_retry_creates_the_runs(extend_api: ExtendApi) -> None:
    extend_api.configure(no_credits=True)
    task = Task(retries=1)
    made = operator(raw_texts=["one"], retries=1)
    with pytest.raises(ExtendError):
        made.execute(task.attempt())
    extend_api.configure(no_credits=False)
    assert run_deferred(made, task.attempt())[0]["status"] == "PROCESSED"


def test_a_failure_halfway_says_which_runs_exist_and_a_retry_goes_on_with_the_next_file(
    extend_api: ExtendApi,
) -> None:
    extend_api.configure(
        faults=[{"endpoint": CREATION, "kind": "error", "status": 422, "skip": 2, "count": 1}]
    )
    task = Task(retries=1)
    made = operator(raw_texts=["one", "two", "three", "four"], retries=1)
    with pytest.raises(ExtendError, match="The first 2 of the 4 files have runs") as caught:
        made.execute(task.attempt())
    created = task.xcoms["run_ids"]
    assert len(created) == 2
    assert all(run_id in str(caught.value) for run_id in created)

    results = run_deferred(made, task.attempt())
    assert [each["id"] for each in results][:2] == created
    assert len(results) == 4
    assert extend_api.requests_to(CREATION) == 5


@pytest.mark.parametrize("cleared", [False, True], ids=["retry", "clear"])
@pytest.mark.parametrize(
    "change",
    [{"raw_texts": ["one", "another"]}, {"raw_texts": ["one"]}, {"metadata": {"k": 2}}],
    ids=["text", "number", "metadata"],
)
def test_files_that_have_changed_since_are_refused_unless_they_are_to_be_taken_up(
    change: dict[str, Any], cleared: bool, extend_api: ExtendApi
) -> None:
    task, common = Task(retries=2), {"metadata": {"k": 1}, "retries": 2}
    first = run_deferred(operator(raw_texts=["one", "two"], **common), task.attempt())
    if cleared:
        task.clear()
    changed = {"raw_texts": ["one", "two"], **common, **change}
    with pytest.raises(ExtendInputError, match=r"on_clear='resubmit'.*on_changed_inputs='reattach'"):
        operator(**changed).execute(task.attempt())
    again = run_deferred(operator(**changed, on_changed_inputs="reattach"), task.attempt())
    assert [each["id"] for each in again] == [each["id"] for each in first][: len(again)]
    assert extend_api.requests_to(CREATION) == 2


def test_after_a_change_of_the_api_version_only_what_has_no_run_is_sent(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    extend_api.configure(
        faults=[{"endpoint": CREATION, "kind": "error", "status": 422, "skip": 2, "count": 1}]
    )
    task = Task(retries=1)
    made = operator(files=named(5), retries=1)
    with pytest.raises(ExtendError):
        made.execute(task.attempt())
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json("2025-04-21"))
    del made.hook
    results = run_deferred(made, task.attempt())
    assert [each["name"] for each in results] == [f"{index}.txt" for index in range(5)]
    assert times_sent(extend_api, 5) == {f"{index}.txt": 1 for index in range(5)}


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        pytest.param({"workflow_id": "workflow_unknown"}, ExtendNotFoundError, id="workflow"),
        pytest.param({"files": [{"file_id": "file_unknown"}], "raw_texts": None}, ExtendError, id="file"),
    ],
)
def test_refusals_of_extend_are_final(arguments: Any, kind: type[ExtendError], extend_api: ExtendApi) -> None:
    with pytest.raises(kind) as caught:
        operator(**{"raw_texts": ["one"], **arguments}).execute(Task().attempt())
    assert not caught.value.retryable
    assert extend_api.stats()["runs_created"] == {}


@MODES
def test_a_run_deleted_meanwhile_ends_the_wait_at_once(
    run: Run, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_runs = ExtendHook.create_runs

    def create_and_delete(hook: ExtendHook, *arguments: Any, **options: Any) -> Any:
        runs = create_runs(hook, *arguments, **options)
        hook.delete_run(runs[0].id)
        return runs

    monkeypatch.setattr(ExtendHook, "create_runs", create_and_delete)
    with pytest.raises(ExtendNotFoundError, match="Nothing was cancelled"):
        run(operator(raw_texts=["one"]), Task().attempt())


FILE = {"file_id": "file_1"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({}, "neither was given", id="neither"),
        pytest.param({"files": [FILE], "raw_texts": ["t"]}, "both was given", id="both"),
        pytest.param({"files": []}, "files has 0 elements", id="no-files"),
        pytest.param(
            {"files": [FILE, {"file_id": "f", "url": "https://h"}]}, r"files\[1\]", id="two-sources"
        ),
        pytest.param({"files": [FILE, {"url": "s3://b/k"}]}, r"files\[1\].url", id="s3"),
        pytest.param({"raw_texts": ["t", " "]}, r"raw_texts\[1\]", id="blank"),
        pytest.param({"files": [FILE], "priority": 0}, "priority is 0", id="priority"),
        pytest.param({"files": [FILE], "priority": 101}, "priority is 101", id="priority-101"),
        pytest.param({"files": [FILE], "version": "latest"}, "Leave version out", id="latest"),
        pytest.param(
            {"files": [FILE], "metadata": {"k": "x" * 10_240}}, "metadata is 10,248 bytes", id="metadata"
        ),
        pytest.param({"files": [FILE], "on_needs_review": "skip"}, "on_needs_review is 'skip'", id="policy"),
        pytest.param({"files": [FILE], "workflow_id": " "}, "workflow_id is ' '", id="workflow"),
        pytest.param({"files": [FILE], "timeout": 0}, "timeout is 0", id="timeout"),
        pytest.param({"files": [FILE], "poll_interval": timedelta(0)}, "poll_interval is", id="interval"),
    ],
)
def test_wrong_literals_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ExtendInputError, match=says):
        operator(**arguments)


@pytest.mark.parametrize(
    ("rendered", "says"),
    [
        ({"priority": "0"}, "priority is '0'"),
        ({"version": "latest"}, "version is 'latest'"),
        ({"files": [FILE, {}]}, r"files\[1\]"),
        ({"metadata": {"k": "x" * 10_240}}, "metadata is"),
        ({"on_needs_review": "skip"}, "on_needs_review is 'skip'"),
        ({"name": 5}, "name is 5"),
    ],
    ids=["priority", "version", "files", "metadata", "policy", "name"],
)
def test_what_a_template_turns_out_to_be_is_refused_before_any_request(
    rendered: dict[str, Any], says: str, extend_api: ExtendApi
) -> None:
    made = operator(files=[FILE])
    for field, value in rendered.items():
        setattr(made, field, value)
    with pytest.raises(ExtendInputError, match=says):
        made.execute(Task().attempt())
    assert extend_api.stats()["requests"] == {}


def test_rendered_fields_hide_urls_texts_and_secrets() -> None:
    with DAG("dag", schedule=None):
        made = operator(
            files=[
                {"url": "https://bucket/a.pdf?sig={{ 'sig-5ecre7' }}", "name": "a.pdf", "password": "5ecre7"}
            ],
            secrets={"token": "{{ 'tok-5ecre7' }}"},
            metadata={"night": "{{ 1 + 1 }}"},
        )
        other = operator(task_id="texts", raw_texts=["text-5ecre7"])
    for each in (made, other):
        each.render_template_fields({})
    shown = _serialize_rendered_fields(made)
    assert "5ecre7" not in json.dumps([shown, _serialize_rendered_fields(other)])
    assert shown["files"] == [{"name": "a.pdf", "password": "***", "url": "https://bucket/a.pdf?***"}]
    assert shown["metadata"] == {"night": "2"}


def test_the_triggers_deadline_comes_before_airflows_and_execution_timeout_bounds_it() -> None:
    made = operator(raw_texts=["one"], timeout=timedelta(hours=1), execution_timeout=timedelta(minutes=1))
    with pytest.raises(TaskDeferred) as deferred:
        made.execute(Task().attempt())
    policy = deferred.value.trigger.policy
    assert (policy.deadline, policy.limit) == (pytest.approx(time.time() + 60, abs=5), "execution_timeout")
    assert deferred.value.timeout is not None
    assert 60 < deferred.value.timeout.total_seconds() < 600


def test_a_triggerer_that_never_reports_gets_a_clear_word() -> None:
    with pytest.raises(ExtendBatchError, match=r"triggerer did not report.*nothing was cancelled"):
        silent(operator(raw_texts=["one"]), Task().attempt())
