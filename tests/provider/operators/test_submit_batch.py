"""The batch operator: what it sends, what it refuses before sending, what it shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, task
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

from extend_provider.client.models import BatchInput, FileInput
from extend_provider.client.pacing.limits import limits_of
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendCreditsError,
    ExtendError,
    ExtendInputError,
    ExtendNotFoundError,
)
from extend_provider.hooks.extend import ExtendHook
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from fixtures.extend.api import ExtendApi
from fixtures.extend.pacing import seconds_to_turn
from fixtures.extend.scripted_server import closed_port
from fixtures.tasks.submit_batch import (
    FILE_ID,
    SUBMISSION,
    operator,
    runs_of,
    texts,
)
from fixtures.tasks.task_support import Task, resume


@pytest.mark.parametrize("api_version", ["2026-02-09", "2025-04-21"])
def test_a_batch_is_sent_in_one_request_and_its_id_returned(
    api_version: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json(api_version))
    task = Task()
    batch_id = operator(inputs=texts(3)).execute(task.attempt())
    assert batch_id is not None
    assert task.xcoms == {"run_count": 3}
    assert extend_api.requests_to(SUBMISSION) == 1
    assert extend_api.stats()["runs_created"] == {"d0": 1, "d1": 1, "d2": 1}
    assert {run.metadata["document_id"] for run in runs_of(batch_id)} == {"d0", "d1", "d2"}


def test_a_thousand_inputs_go_in_one_request(extend_api: ExtendApi) -> None:
    task = Task()
    operator(inputs=texts(1000)).execute(task.attempt())
    assert task.xcoms == {"run_count": 1000}
    assert extend_api.requests_to(SUBMISSION) == 1


def test_rendered_numbers_are_parsed(extend_api: ExtendApi) -> None:
    made = operator(inputs=texts(1), version="{{ 'draft' }}", priority="{{ 7 }}")
    made.version, made.priority = "None", " 7 "
    assert made.execute(Task().attempt()) is not None
    assert extend_api.requests_to(SUBMISSION) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"priority": 0}, "priority is 0", id="priority-0"),
        pytest.param({"priority": 101}, "priority is 101", id="priority-101"),
        pytest.param({"version": "latest"}, "version is 'latest'", id="latest"),
        pytest.param({"workflow_id": ""}, "workflow_id is ''", id="workflow"),
        pytest.param({"workflow_id": None}, "workflow_id is None", id="no-workflow"),
        pytest.param({"inputs": None}, "inputs are missing", id="no-inputs"),
        pytest.param({"inputs": []}, "inputs has 0 elements", id="0-inputs"),
        pytest.param({"inputs": [FILE_ID] * 1001}, "inputs has 1,001 elements", id="1001-inputs"),
        pytest.param(
            {"inputs": [FILE_ID, {**FILE_ID, "metadata": {"k": "x" * 10_240}}]},
            r"inputs\[1\].metadata",
            id="metadata",
        ),
        pytest.param({"inputs": [FILE_ID, FILE_ID, {"file": {}}]}, r"inputs\[2\].file", id="no-source"),
        pytest.param(
            {"inputs": [{"file": {"file_id": "f", "text": "t"}}]}, "file_id and text", id="two-sources"
        ),
    ],
)
def test_wrong_literals_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ExtendInputError, match=says):
        operator(**{"inputs": [FILE_ID], **arguments})


@pytest.mark.parametrize(
    ("rendered", "says"),
    [
        ({"priority": "101"}, "priority is '101'"),
        ({"version": "latest"}, "version is 'latest'"),
        ({"workflow_id": "None"}, "workflow_id is 'None'"),
        ({"inputs": []}, "inputs has 0 elements"),
        ({"inputs": [FILE_ID] * 1001}, "inputs has 1,001 elements"),
        ({"inputs": [FILE_ID, {"file": {"url": "ftp://h/a"}}]}, r"inputs\[1\].file.url"),
        ({"inputs": "[{'file': 1}]"}, "inputs must be a list"),
    ],
    ids=["priority", "version", "workflow", "0-inputs", "1001-inputs", "url", "text"],
)
def test_an_invalid_rendered_value_is_refused_before_any_request(
    rendered: dict[str, Any], says: str, extend_api: ExtendApi
) -> None:
    made = operator(inputs=[FILE_ID])
    for field, value in rendered.items():
        setattr(made, field, value)
    with pytest.raises(ExtendInputError, match=says):
        made.execute(Task().attempt())
    assert extend_api.stats()["requests"] == {}


@pytest.mark.parametrize(
    ("settings", "workflow_id", "kind"),
    [
        pytest.param({}, "workflow_unknown", ExtendNotFoundError, id="unknown-workflow"),
        pytest.param({"no_credits": True}, "workflow_invoices", ExtendCreditsError, id="no-credits"),
    ],
)
def test_refusals_of_extend_are_final_and_create_nothing(
    settings: dict[str, Any], workflow_id: str, kind: type[ExtendError], extend_api: ExtendApi
) -> None:
    extend_api.configure(**settings)
    with pytest.raises(kind) as caught:
        operator(workflow_id=workflow_id, inputs=texts(1)).execute(Task().attempt())
    assert not caught.value.retryable
    assert extend_api.requests_to(SUBMISSION) == 1
    assert extend_api.stats()["runs_created"] == {}


def test_a_wrong_key_is_final(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = json.dumps({"conn_type": "extend", "host": extend_api.url, "password": "sk_5ecre7"})
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", wrong)
    with pytest.raises(ExtendAuthError) as caught:
        operator(inputs=texts(1)).execute(Task().attempt())
    assert "5ecre7" not in str(caught.value)


def test_the_rate_limit_is_waited_for_before_the_submission_is_begun(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = extend_api.connection_json(requests_per_second=2, timeout=1, acceptance_window=5)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", slow)
    for _ in range(10):
        seconds_to_turn(limits_of(ExtendHook().settings), "run")
    task = Task()
    assert operator(inputs=texts(1), deferrable=False).execute(task.attempt()) is not None
    intent = task.store.values["extend_submission"]["intent"]
    (posted,) = extend_api.journal()
    assert intent["number"] == 1
    waited = datetime.fromisoformat(posted["at"]) - datetime.fromisoformat(intent["begun_at"])
    assert waited < timedelta(seconds=2), "the turn took five"
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


def test_an_extend_that_cannot_be_reached_costs_no_retry(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = json.dumps({"conn_type": "extend", "host": f"http://127.0.0.1:{closed_port()}", "password": "sk"})
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", down)
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    task = Task()
    made = operator(inputs=texts(1))
    with pytest.raises(TaskDeferred) as deferred:
        made.execute(task.attempt())
    assert deferred.value.trigger.serialize()[1]["work"] is None
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    fresh = operator(inputs=texts(1))  # a worker of its own
    assert resume(fresh, deferred.value, {**task.attempt(), "ti": task.attempts[0]}) is not None
    assert extend_api.stats()["requests"] == {SUBMISSION: 1}


def test_the_idempotency_key_counts_in_the_metadata_and_its_name_is_reserved(extend_api: ExtendApi) -> None:
    nearly_full = {**FILE_ID, "metadata": {"k": "x" * 10_200}}
    with pytest.raises(ExtendInputError, match=r"inputs\[1\].metadata is 10,2.. bytes"):
        operator(inputs=[FILE_ID, nearly_full]).execute(Task().attempt())
    with pytest.raises(ExtendInputError, match=r"inputs\[0\].metadata has the key 'airflow_submission'"):
        operator(inputs=[{**FILE_ID, "metadata": {"airflow_submission": "x"}}]).execute(Task().attempt())
    assert extend_api.stats()["requests"] == {}


def test_an_unknown_policy_of_the_batch_is_refused_when_the_dag_is_parsed() -> None:
    with pytest.raises(ExtendInputError, match="on_clear is 'ignore'"):
        operator(inputs=[FILE_ID], on_clear="ignore")
    with pytest.raises(ExtendInputError, match="on_changed_inputs is 'ignore'"):
        operator(inputs=[FILE_ID], on_changed_inputs="ignore")


def test_inputs_that_are_built_late_are_not_compared(extend_api: ExtendApi) -> None:
    task = Task(retries=1)
    late = LateInputs(task_id="late", workflow_id="workflow_invoices", retries=1)
    late.made = [BatchInput(FileInput(text="t"))]
    first = late.execute(task.attempt())
    late.made = []
    assert late.execute(task.attempt()) == first


class LateInputs(ExtendSubmitBatchOperator):
    """Builds its inputs in the worker."""

    made: Sequence[BatchInput] = ()

    def get_inputs(self, context: Any) -> Sequence[BatchInput]:
        return self.made


def test_a_subclass_builds_its_inputs_in_the_worker(extend_api: ExtendApi) -> None:
    late = LateInputs(task_id="late", workflow_id="workflow_invoices")
    late.made = [BatchInput(FileInput(text="t", name="t.txt"), metadata={"document_id": "d"})]
    task = Task()
    assert late.execute(task.attempt()) is not None
    assert task.xcoms == {"run_count": 1}
    assert extend_api.stats()["runs_created"] == {"d": 1}


def test_a_subclass_with_nothing_to_submit_succeeds_without_a_batch(extend_api: ExtendApi) -> None:
    task = Task()
    assert LateInputs(task_id="late", workflow_id="workflow_invoices").execute(task.attempt()) is None
    assert task.xcoms == {"run_count": 0}
    assert extend_api.stats()["requests"] == {}


def test_inputs_of_a_subclass_are_checked(extend_api: ExtendApi) -> None:
    late = LateInputs(task_id="late", workflow_id="workflow_invoices")
    late.made = [BatchInput(FileInput(url="https://h/a", text="both"))]
    with pytest.raises(ExtendInputError, match=r"inputs\[0\].file"):
        late.execute(Task().attempt())
    assert extend_api.stats()["requests"] == {}


SECRETS = {
    "file": {"url": "https://bucket/a%20b.pdf?X-Amz-Signature={{ 'sig-5ecre7' }}", "password": "pw-5ecre7"},
    "metadata": {"document_id": "{{ 'd' ~ 1 }}"},
    "secrets": {"token": "tok-5ecre7"},
}


def rendered(made: BaseOperator) -> tuple[BaseOperator, dict[str, Any]]:
    """Render an operator as the worker does; return it and what Airflow would store of it."""
    context: dict[str, Any] = {"ti": None, "task": made, "expanded_ti_count": None}
    made.render_template_fields(context)  # type: ignore[arg-type]  # what these templates need of a context
    used: BaseOperator = context["task"]
    return used, _serialize_rendered_fields(used)


def test_rendered_inputs_show_what_is_sent_without_credentials() -> None:
    with DAG("dag", schedule=None):
        made = operator(inputs=[SECRETS, {"file": {"text": "text-5ecre7"}}])
    used, shown = rendered(made)
    assert isinstance(used, ExtendSubmitBatchOperator)
    assert "5ecre7" not in json.dumps(shown)
    assert shown["inputs"][0]["file"]["url"] == "https://bucket/a%20b.pdf?***"
    assert shown["inputs"][0]["metadata"] == {"document_id": "d1"}
    (sent, _) = used.get_inputs({})
    assert sent.file.url == "https://bucket/a%20b.pdf?X-Amz-Signature=sig-5ecre7"
    assert "5ecre7" not in repr(vars(used)["inputs"])


def test_a_mapped_task_seals_its_inputs_as_well() -> None:
    with DAG("dag", schedule=None):
        mapped = ExtendSubmitBatchOperator.partial(
            task_id="submit", workflow_id="{{ 'workflow_' ~ 1 }}"
        ).expand(inputs=[[SECRETS], [FILE_ID]])
    used = mapped.unmap({"inputs": [SECRETS]})
    context: Any = {"task": used}
    used._do_render_template_fields(used, used.template_fields, context, used.get_template_env(), set())
    shown = _serialize_rendered_fields(used)
    assert "5ecre7" not in json.dumps(shown)
    assert shown["workflow_id"] == "workflow_1"


def test_inputs_from_another_task_make_it_upstream() -> None:
    with DAG("dag", schedule=None):

        @task
        def make_inputs() -> list[dict[str, Any]]:
            return [FILE_ID]

        made = operator(inputs=make_inputs())
    assert made.upstream_task_ids == {"make_inputs"}
