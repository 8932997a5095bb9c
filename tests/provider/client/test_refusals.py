"""Which input of a batch Extend has refused, and what the batch operator does about it."""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.client.models import BatchInput, FileInput
from extend_provider.client.refusals import refused_inputs
from extend_provider.exceptions import (
    ExtendBadRequestError,
    ExtendError,
    ExtendInputError,
    ExtendNotFoundError,
    ExtendRateLimitError,
    ExtendUnclearSubmissionError,
)
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from fixtures.extend_api import ExtendApi
from fixtures.task_support import Task

BATCH = "POST /workflow_runs/batch"
URL = "https://inbox.example/in/b%20c.pdf"
INPUTS = [
    BatchInput(FileInput(url="https://inbox.example/in/a.pdf?X-Amz-Signature=1", name="a.pdf")),
    BatchInput(FileInput(url=f"{URL}?X-Amz-Signature=2", name="b c.pdf")),
    BatchInput(FileInput(file_id="file_1")),
    BatchInput(FileInput(file_id="file_12")),
    BatchInput(FileInput(file_id="file_12")),
]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param("UNABLE_TO_DOWNLOAD_FILE: HTTP 403; Path: inputs[1].file", [1], id="path"),
        pytest.param("Invalid url; Path: inputs.3.file.url", [3], id="path with dots"),
        pytest.param("Invalid url at /inputs/4/file/fileUrl", [4], id="pointer"),
        pytest.param('Invalid input at ["inputs", 0, "file"]', [0], id="path as a list"),
        pytest.param("Bad; Path: inputs[2].file; Bad; Path: inputs[0].metadata", [0, 2], id="two paths"),
        pytest.param("File 'file_1' not found.", [2], id="id"),
        pytest.param("File file_1.", [2], id="id at the end"),
        pytest.param("File 'file_12' is a duplicate.", [], id="id of two inputs"),
        pytest.param(f"Cannot read {URL}?***.", [1], id="url"),
        pytest.param("Cannot read https://inbox.example/in/a.pdf.", [0], id="url without a query"),
        pytest.param("Cannot read https://inbox.example/in/", [], id="another url"),
        pytest.param("Expected between 1 and 1000 inputs; Path: inputs", [], id="all inputs"),
        pytest.param("Invalid; Path: inputs[5].file", [], id="no such input"),
        pytest.param("Invalid; Path: priority", [], id="another field"),
        pytest.param("Workflow 'workflow_1' not found.", [], id="workflow"),
        pytest.param(None, [], id="no words"),
    ],
)
@pytest.mark.parametrize("kind", [ExtendBadRequestError, ExtendNotFoundError])
def test_an_input_is_found_by_path_id_or_url(
    kind: type[ExtendError], said: str | None, expected: list[int]
) -> None:
    found = refused_inputs(kind("No.", status=400, said=said), INPUTS)
    assert [each.index for each in found] == expected


@pytest.mark.parametrize("kind", [ExtendUnclearSubmissionError, ExtendRateLimitError])
def test_only_a_refusal_proves_that_nothing_was_created(kind: type[ExtendError]) -> None:
    assert refused_inputs(kind("No.", said="Bad; Path: inputs[1].file"), INPUTS) == []
    again = ExtendBadRequestError("No.", retryable=True, said="Bad; Path: inputs[1].file")
    assert refused_inputs(again, INPUTS) == []


@pytest.mark.parametrize(
    ("code", "said", "reason", "of_the_file"),
    [
        ("INVALID_REQUEST", "CORRUPT_FILE: it ends; Path: inputs[1].file", "CORRUPT_FILE", True),
        ("FILE_SIZE_TOO_LARGE", "Too large; Path: inputs[1].file", "FILE_SIZE_TOO_LARGE", True),
        ("INVALID_REQUEST", "Invalid url; Path: inputs[1].file", "INVALID_REQUEST", False),
        (None, "UNABLE_TO_DOWNLOAD_FILE; Path: inputs[1].file", "UNABLE_TO_DOWNLOAD_FILE", False),
        (None, "Invalid url; Path: inputs[1].file", "INVALID_REQUEST", False),
    ],
)
def test_the_reason_is_extends_own(code: str | None, said: str, reason: str, of_the_file: bool) -> None:
    [found] = refused_inputs(ExtendBadRequestError("No.", code=code, said=said), INPUTS)
    assert (found.reason, found.is_of_the_file) == (reason, of_the_file)
    assert found.message == said.partition(";")[0]


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
