"""The official SDK as the client: what it makes of the emulator's answers is what it makes of Extend's."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from extend_ai import Extend
from extend_ai.core.api_error import ApiError
from extend_ai.errors import (
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    PaymentRequiredError,
    TooManyRequestsError,
    UnauthorizedError,
    UnprocessableEntityError,
)
from extend_ai.wrapper.polling import PollingOptions

from fixtures.extend.api import ExtendApi
from fixtures.extend.emulated import INVOICE

POLLING = PollingOptions(max_wait_ms=20_000, fast_poll_interval_ms=50)
ONCE: Any = {"max_retries": 0}


def _settled(client: Any, batch_id: str, count: int) -> list[Any]:
    for _ in range(400):
        runs: list[Any] = client.workflow_runs.list(batch_id=batch_id, max_page_size=1000).data
        if len(runs) == count and all(run.status == "PROCESSED" for run in runs):
            return runs
        time.sleep(0.02)
    raise AssertionError([run.status for run in runs])


def test_run_is_created_polled_and_read(client: Any) -> None:
    run = client.workflow_runs.create_and_poll(
        workflow={"id": "workflow_invoices"},
        file={"text": INVOICE, "name": "seven"},
        metadata={"customer": "c1"},
        priority=10,
        polling_options=POLLING,
    )
    assert run.status == "PROCESSED"
    assert (run.workflow.id, run.workflow_version.version) == ("workflow_invoices", "2")
    assert run.metadata == {"customer": "c1"}
    assert [(file.name, file.type, file.metadata.page_count) for file in run.files] == [
        ("seven.txt", "TXT", 1)
    ]
    [step] = run.step_runs
    assert (step.step_type, step.status, step.step.type) == ("EXTRACT", "PROCESSED", "EXTRACT")
    extract = step.result.extract_run
    assert extract.output.value["invoice_number"] == "INV-7"
    assert extract.output.value["total"] == 119.0
    citation = extract.output.metadata["invoice_number"].citations[0]
    assert (citation.file_id, citation.page.number) == (run.files[0].id, 1)
    assert "INV-7" in citation.reference_text
    assert extract.config.schema_["properties"]["invoice_number"]
    assert (extract.extractor.id, extract.extractor_version.version) == ("ex_invoices", "1")
    assert (run.usage.credits, run.usage.breakdown[0].charges[0].unit) == (1.0, "page")
    assert run.start_time <= run.end_time


def test_mixed_workflow_classifies_and_extracts_by_class(client: Any) -> None:
    run = client.workflow_runs.create_and_poll(
        workflow={"id": "workflow_mixed", "version": "1"}, file={"text": INVOICE}, polling_options=POLLING
    )
    classify, extract = run.step_runs
    assert run.workflow_version.version == "1"
    assert (classify.step_type, classify.result.classify_run.output.type) == ("CLASSIFY", "invoice")
    assert 0.5 < classify.result.classify_run.output.confidence <= 1
    assert extract.step_type == "CONDITIONAL_EXTRACT"
    assert extract.result.extract_run.output.value["invoice_number"] == "INV-7"
    assert [entry.object for entry in run.usage.breakdown] == ["classify_run", "extract_run"]


def test_batch_is_submitted_listed_and_paged(client: Any) -> None:
    inputs = [{"file": {"text": INVOICE, "name": f"{n}.txt"}, "metadata": {"n": n}} for n in range(25)]
    batch = client.workflow_runs.create_batch(workflow={"id": "workflow_invoices"}, inputs=inputs, priority=5)
    listed = _settled(client, batch.batch_id, 25)
    assert {run.batch_id for run in listed} == {batch.batch_id}
    assert all(run.usage.credits == 1.0 for run in listed)
    names, token = [], None
    while True:
        page = client.workflow_runs.list(
            batch_id=batch.batch_id, sort_by="createdAt", sort_dir="asc", next_page_token=token
        )
        names += [run.files[0].name for run in page.data]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"{n}.txt" for n in range(25)]
    assert client.workflow_runs.retrieve(listed[0].id).metadata.keys() == {"n"}


def test_run_is_updated_cancelled_and_deleted(client: Any, extend_api: ExtendApi) -> None:
    extend_api.configure(hold=True, cancelling_seconds=0.3)
    run = client.workflow_runs.create(
        workflow={"id": "workflow_invoices"}, file={"text": "x"}, metadata={"a": 1, "b": 1}
    )
    assert run.status == "PENDING"
    assert client.workflow_runs.update(run.id, metadata={"b": 2, "c": 3}).metadata == {"a": 1, "b": 2, "c": 3}
    assert client.workflow_runs.cancel(run.id).status == "CANCELLING"
    with pytest.raises(BadRequestError):
        client.workflow_runs.cancel(run.id, request_options=ONCE)
    deadline = time.monotonic() + 5
    while (status := client.workflow_runs.retrieve(run.id).status) == "CANCELLING":
        assert time.monotonic() < deadline
    assert status == "CANCELLED"
    assert client.workflow_runs.delete(run.id).id == run.id
    with pytest.raises(NotFoundError):
        client.workflow_runs.retrieve(run.id)
    assert client.workflow_runs.list().data == []


def test_file_is_uploaded_read_listed_run_and_deleted(client: Any) -> None:
    uploaded = client.files.upload(file=("invoice seven.txt", io.BytesIO(INVOICE.encode()), "image/png"))
    assert (uploaded.name, uploaded.type, uploaded.metadata.page_count) == ("invoice seven.txt", "TXT", None)
    assert client.files.retrieve(uploaded.id).presigned_url.startswith("http://127.0.0.1")
    assert [file.id for file in client.files.list(name_contains="seven").data] == [uploaded.id]
    assert client.files.list(name_contains="eight").data == []
    run = client.workflow_runs.create_and_poll(
        workflow={"id": "workflow_invoices"}, file={"id": uploaded.id}, polling_options=POLLING
    )
    assert run.files[0].id == uploaded.id
    assert run.step_runs[0].result.extract_run.output.value["total"] == 119.0
    assert client.files.retrieve(uploaded.id).metadata.page_count == 1
    assert client.files.delete(uploaded.id).id == uploaded.id
    with pytest.raises(NotFoundError):
        client.files.retrieve(uploaded.id)


def test_workflows_are_listed(client: Any) -> None:
    assert {workflow.id for workflow in client.workflows.list().data} == {
        "workflow_invoices",
        "workflow_receipts",
        "workflow_statements",
        "workflow_mixed",
        "workflow_mailroom",
        "workflow_typed",
    }
    steps = client.workflows.retrieve("workflow_mixed").draft_version.steps
    assert [step.type for step in steps][:2] == ["TRIGGER", "CLASSIFY"]


def test_package_of_files_is_one_run(client: Any) -> None:
    ids = [client.files.upload(file=(f"{n}.txt", INVOICE.encode())).id for n in range(2)]
    run = client.workflow_runs.create_and_poll(
        workflow={"id": "workflow_invoices"},
        package={"files": [{"id": file_id} for file_id in ids]},
        polling_options=POLLING,
    )
    assert [file.id for file in run.files] == ids
    assert run.status == "PROCESSED"
    assert run.usage.credits == 2.0


def test_given_output_overrides_the_classification(client: Any) -> None:
    run = client.workflow_runs.create_and_poll(
        workflow={"id": "workflow_mixed"},
        file={"text": INVOICE},
        outputs=[{"processor_id": "cl_documents", "output": {"id": "class_receipt", "type": "receipt"}}],
        polling_options=POLLING,
    )
    classify, extract = run.step_runs
    assert classify.result.classify_run.output.type == "receipt"
    assert extract.result.extract_run.extractor.id == "ex_receipts"


@pytest.mark.parametrize(
    ("settings", "expected", "code"),
    [
        pytest.param({"no_credits": True}, PaymentRequiredError, "USAGE_BLOCKED", id="402"),
        pytest.param({"validation_status": 422}, UnprocessableEntityError, "INVALID_REQUEST", id="422"),
        pytest.param({"validation_status": 400}, BadRequestError, "INVALID_REQUEST", id="400"),
        pytest.param(
            {"max_queued_runs": 1, "hold": True}, TooManyRequestsError, "RATE_LIMIT_EXCEEDED", id="429"
        ),
        pytest.param({"faults": [{"status": 503}]}, ApiError, "INTERNAL_ERROR", id="503"),
    ],
)
def test_refusal_raises_the_sdk_error(
    client: Any, extend_api: ExtendApi, settings: dict[str, Any], expected: type[ApiError], code: str
) -> None:
    extend_api.configure(**settings)
    invalid = "validation_status" in settings
    inputs: Any = [] if invalid else [{"file": {"text": "x"}}] * 2
    with pytest.raises(expected) as caught:
        client.workflow_runs.create_batch(
            workflow={"id": "workflow_invoices"}, inputs=inputs, request_options=ONCE
        )
    body = caught.value.body
    assert (body["code"] if isinstance(body, dict) else body.code) == code
    assert extend_api.stats()["runs_created"] == {}


def test_wrong_key_and_wrong_workspace_raise_sdk_errors(extend_api: ExtendApi) -> None:
    with pytest.raises(UnauthorizedError) as wrong:
        Extend(token="sk_wrong", base_url=extend_api.url).workflow_runs.list()
    assert wrong.value.body["message"] == "Invalid API key."
    client: Any = Extend(token=extend_api.key, base_url=extend_api.url)
    with pytest.raises(ForbiddenError):
        client.workflow_runs.list(extend_workspace_id="ws_foreign")
    extend_api.configure(organization_key=True)
    with pytest.raises(BadRequestError):
        client.workflow_runs.list()
    assert client.workflow_runs.list(extend_workspace_id="ws_sandbox").data == []


@pytest.mark.parametrize(
    "workflow",
    [
        pytest.param({"id": "workflow_unknown"}, id="workflow"),
        pytest.param({"id": "workflow_invoices", "version": "3"}, id="version"),
        pytest.param({"id": "workflow_invoices", "version": "latest"}, id="latest"),
    ],
)
def test_unknown_workflow_or_version_is_not_found(client: Any, workflow: Any) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.workflow_runs.create(workflow=workflow, file={"text": "x"})
    assert caught.value.body["code"] == "NOT_FOUND"


def test_sdk_creates_a_batch_twice_when_the_answer_is_lost(client: Any, extend_api: ExtendApi) -> None:
    extend_api.configure(faults=[{"endpoint": "POST /workflow_runs/batch", "status": 502, "accepted": True}])
    inputs = [{"file": {"text": "x", "name": "paid-twice.txt"}}]
    client.workflow_runs.create_batch(workflow={"id": "workflow_invoices"}, inputs=inputs)
    assert extend_api.stats()["runs_created"] == {"paid-twice.txt": 2}
