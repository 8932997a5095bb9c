"""What the batch operator does about an input that Extend refuses."""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.exceptions import ExtendBadRequestError, ExtendInputError
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from fixtures.extend.api import ExtendApi
from fixtures.tasks.task_support import Task

BATCH = "POST /workflow_runs/batch"


@pytest.fixture
def api(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> ExtendApi:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True, unreachable_url="reject_batch")
    return extend_api


def operator(**arguments: Any) -> ExtendSubmitBatchOperator:
    files = [{"text": "one"}, {"url": "http://127.0.0.1:9/b.pdf?secret=1", "name": "b.pdf"}, {"text": "two"}]
    inputs = [{"file": file, "metadata": {"document_id": f"d{at}"}} for at, file in enumerate(files)]
    arguments = {"workflow_id": "workflow_invoices", "inputs": inputs, **arguments}
    return ExtendSubmitBatchOperator(task_id="submit", **arguments)


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_operator_names_the_input_and_creates_nothing(api: ExtendApi, deferrable: bool) -> None:
    with pytest.raises(ExtendBadRequestError) as caught:
        operator(deferrable=deferrable).execute(Task().attempt())
    said = str(caught.value)
    assert "inputs[1] (b.pdf)" in said
    assert "nothing was created" in said
    assert "on_refused_input='leave_out'" in said
    assert "secret" not in said
    assert api.requests_to(BATCH) == 1
    assert api.stats()["runs_created"] == {}


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_operator_leaves_an_input_out_if_asked(api: ExtendApi, deferrable: bool) -> None:
    task = Task()
    made = operator(on_refused_input="leave_out", deferrable=deferrable)
    batch_id = made.execute(task.attempt())
    assert api.stats()["runs_created"] == {"d0": 1, "d2": 1}
    assert task.xcoms["run_count"] == 2
    [told] = task.xcoms["left_out"]
    assert (told["index"], told["file"], told["reason"]) == (1, "b.pdf", "UNABLE_TO_DOWNLOAD_FILE")
    again = operator(on_refused_input="leave_out", deferrable=deferrable)
    assert again.execute(task.attempt()) == batch_id
    assert task.xcoms["left_out"] == [told]
    assert api.requests_to(BATCH) == 2


def test_the_operator_finds_its_batch_without_the_input_again(api: ExtendApi) -> None:
    api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True, "skip": 1}])
    task = Task()
    assert operator(on_refused_input="leave_out", deferrable=False).execute(task.attempt())
    assert task.xcoms["run_count"] == 2
    assert api.stats()["runs_created"] == {"d0": 1, "d2": 1}


def test_the_operator_never_sends_a_batch_without_any_input(api: ExtendApi) -> None:
    inputs = [{"file": {"url": f"http://127.0.0.1:9/{name}.pdf"}} for name in "ab"]
    with pytest.raises(ExtendBadRequestError, match=r"inputs\[0\]"):
        operator(inputs=inputs, on_refused_input="leave_out").execute(Task().attempt())
    assert api.stats()["runs_created"] == {}


def test_an_unknown_policy_is_refused_when_the_dag_is_parsed() -> None:
    with pytest.raises(ExtendInputError, match="on_refused_input"):
        operator(on_refused_input="drop")
