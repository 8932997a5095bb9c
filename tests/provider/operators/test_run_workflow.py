"""The run operator: the whole of the "Run Workflow" request, waiting, retries, refusals."""

from __future__ import annotations

import copy
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

from extend_provider.exceptions import (
    ExtendBatchError,
    ExtendError,
    ExtendInputError,
    ExtendNotFoundError,
)
from extend_provider.hooks.extend import ExtendHook
from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator
from fixtures.extend.api import ExtendApi
from fixtures.tasks.run_workflow import CREATION, MODES, Run, operator
from fixtures.tasks.task_support import Task, run_deferred


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


def test_runs_are_returned_as_created_without_waiting(extend_api: ExtendApi) -> None:
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
def test_runs_in_review_are_handled_by_the_policy(
    run: Run, on_needs_review: Any, says: str | None, extend_api: ExtendApi
) -> None:
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
def test_a_late_resume_polls_once_more_and_the_passed_limit_decides(
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
def test_an_invalid_rendered_value_is_refused_before_any_request(
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


def test_a_triggerer_that_never_reports_is_named_in_the_error() -> None:
    with pytest.raises(ExtendBatchError, match=r"triggerer did not report.*nothing was cancelled"):
        silent(operator(raw_texts=["one"]), Task().attempt())
