"""The run operator over the attempts of a task: retried, cleared, its files changed."""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.exceptions import (
    ExtendBatchError,
    ExtendError,
    ExtendInputError,
)
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.api import ExtendApi
from fixtures.tasks.run_workflow import CREATION, MODES, Run, attempted, named, operator, times_sent
from fixtures.tasks.task_support import Task, run_deferred

CLEARS = pytest.mark.parametrize(
    "how",
    [
        pytest.param({}, id="airflow-3.3"),
        pytest.param({"keeps_state": False}, id="airflow-3.4"),
        pytest.param({"running": True}, id="running"),
    ],
)


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


@CLEARS
def test_a_clear_reuses_the_runs(
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
def test_a_clear_with_resubmit_creates_the_runs_again_and_its_retries_do_not(
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


def test_a_clear_creates_cancelled_runs_again(extend_api: ExtendApi) -> None:
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


def test_an_unclear_answer_is_not_followed_by_another_request(extend_api: ExtendApi) -> None:
    extend_api.configure(faults=[{"endpoint": CREATION, "kind": "drop", "accepted": True}])
    task = Task(retries=1)
    made = operator(raw_texts=["one"], retries=1)
    results = attempted(made, task)
    assert [each["status"] for each in results] == ["PROCESSED"]
    assert extend_api.requests_to(CREATION) == 1


def test_a_retry_after_a_refusal_creates_the_runs(extend_api: ExtendApi) -> None:
    extend_api.configure(no_credits=True)
    task = Task(retries=1)
    made = operator(raw_texts=["one"], retries=1)
    with pytest.raises(ExtendError):
        made.execute(task.attempt())
    extend_api.configure(no_credits=False)
    assert run_deferred(made, task.attempt())[0]["status"] == "PROCESSED"


def test_a_failure_halfway_names_the_runs_and_a_retry_continues_with_the_next_file(
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
def test_changed_files_are_refused_unless_on_changed_inputs_is_reattach(
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


def test_a_change_of_the_api_version_sends_only_files_without_a_run(
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
