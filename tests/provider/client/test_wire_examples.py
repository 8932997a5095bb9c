"""Answers in the shape of Extend's own examples of 2026-02-09, read: what is said, and what is left out.

The examples show every field at once, one step of a workflow without its type inside ``step``, a summary from
before summaries had files, and numbers without a fraction.
"""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.client.models import Split
from extend_provider.client.wire import wire_for

WIRE = wire_for("2026-02-09")
TOKEN = "aBc123==:dEf/4+g5="
TIMES = {"createdAt": "2024-03-21T16:45:00Z", "updatedAt": "2024-03-21T16:45:00Z"}
PLACE = {"id": "id", "type": "Invoice", "identifier": "other_2_9", "startPage": 1, "endPage": 10}
FILE: dict[str, Any] = {
    "object": "file",
    "id": "file_1",
    "name": "Invoices.pdf",
    "type": "PDF",
    "parentFileId": "file_0",
    "metadata": {"pageCount": 30, "parentSplit": PLACE},
    **TIMES,
}
USAGE = {
    "credits": 9,
    "totalCredits": 15,
    "breakdown": [{"object": "extract_run", "id": "pr_2", "credits": 6}],
}
WORKFLOW: dict[str, Any] = {
    "workflow": {"object": "workflow", "id": "workflow_1", "name": "Invoice Processing", **TIMES},
    "workflowVersion": {
        "object": "workflow_version",
        "id": "workflow_version_1",
        "version": "1",
        "name": "Production v1",
        "createdAt": "2024-03-21T16:45:00Z",
    },
    "dashboardUrl": "https://dashboard.extend.ai/workflows/workflow_run_1",
}
PARSE_RUN: dict[str, Any] = {
    "object": "parse_run",
    "id": "pr_1",
    "batchId": "bpar_1",
    "file": {**FILE, "type": None},
    "status": "PENDING",
    "failureReason": "FILE_TYPE_NOT_SUPPORTED",
    "failureMessage": "File type not supported for parsing.",
    "output": {
        "chunks": [
            {
                "object": "chunk",
                "type": "page",
                "content": "This is the content of the chunk.",
                "metadata": {"pageRange": {"start": 1, "end": 1}},
                "blocks": [
                    {
                        "object": "block",
                        "id": "id",
                        "type": "text",
                        "content": "content",
                        "details": {"type": "table_details", "rowCount": 1, "columnCount": 1},
                        "metadata": {},
                        "polygon": [{"x": 10, "y": 20}],
                        "boundingBox": {"left": 10, "top": 10, "right": 20, "bottom": 20},
                    }
                ],
            }
        ],
        "ocr": {"words": [{"content": "content", "confidence": 1.1, "pageNumber": 1.1}]},
    },
    "outputUrl": "https://...",
    "metrics": {"processingTimeMs": 1234, "pageCount": 5},
    "config": {"chunkingStrategy": {"options": {"minCharacters": 500, "maxCharacters": 10000}}},
    "usage": USAGE,
}
STEP: dict[str, Any] = {
    "object": "workflow_step_run",
    "id": "workflow_step_run_1",
    "workflowRunId": "workflow_run_1",
    "status": "PENDING",
    "files": [{**FILE, "type": None}],
    "step": {"object": "workflow_step", "id": "step_1", "name": "Validate Invoice Total"},
    "result": {"parseRun": PARSE_RUN},
    "stepType": "PARSE",
}
RUN: dict[str, Any] = {
    "object": "workflow_run",
    "id": "workflow_run_1",
    **WORKFLOW,
    "status": "PENDING",
    "metadata": {"key": "value"},
    "batchId": "batch_7Ws31-F5",
    "files": [FILE],
    "failureReason": "failureReason",
    "failureMessage": "failureMessage",
    "initialRunAt": "2025-04-28T17:01:39Z",
    "reviewedByUser": "jane.doe@example.com",
    "reviewed": True,
    "rejectionNote": "rejectionNote",
    "reviewedAt": "2024-03-21T16:45:00Z",
    "startTime": "2024-03-21T15:30:00Z",
    "endTime": "2024-03-21T15:35:00Z",
    "stepRuns": [STEP],
    "usage": USAGE,
}
SUMMARY: dict[str, Any] = {
    "object": "workflow_run",
    "id": "id",
    "status": "PENDING",
    **WORKFLOW,
    "reviewedByUser": "reviewedByUser",
    "reviewedAt": "2024-01-15T09:30:00Z",
    "initialRunAt": "2024-01-15T09:30:00Z",
    "startTime": "2024-01-15T09:30:00Z",
    "endTime": "2024-01-15T09:30:00Z",
    "batchId": "batchId",
    "rejectionNote": "rejectionNote",
    **TIMES,
    "usage": {"credits": 9, "totalCredits": 15},
}


@pytest.mark.parametrize("read", [WIRE.run, lambda body: WIRE.created_runs(body)[0]], ids=["run", "created"])
def test_a_run_is_read_whole(read: Any) -> None:
    run = read(RUN)
    assert (run.id, run.status, run.batch_id) == ("workflow_run_1", "PENDING", "batch_7Ws31-F5")
    assert (run.workflow_id, run.workflow_name, run.workflow_version, run.workflow_version_name) == (
        "workflow_1",
        "Invoice Processing",
        "1",
        "Production v1",
    )
    assert run.metadata == {"key": "value"}
    assert (run.started_at, run.ended_at) == ("2024-03-21T15:30:00Z", "2024-03-21T15:35:00Z")
    assert (run.reviewed, run.reviewed_by, run.reviewed_at, run.rejection_note) == (
        True,
        "jane.doe@example.com",
        "2024-03-21T16:45:00Z",
        "rejectionNote",
    )
    assert (run.failure_reason, run.failure_message) == ("failureReason", "failureMessage")
    assert run.credits == 9
    assert run.file_names == ("Invoices.pdf",)


def test_a_step_is_read_with_its_parse_run() -> None:
    [step] = WIRE.run(RUN).steps
    assert (step.id, step.type, step.name, step.status) == (
        "workflow_step_run_1",
        "PARSE",
        "Validate Invoice Total",
        "PENDING",
    )
    assert [(file.id, file.type, file.page_count) for file in step.files] == [("file_1", None, 30)]
    assert step.output is None
    result = step.result
    assert result is not None
    assert (result.kind, result.id, result.status, result.credits) == ("parse", "pr_1", "PENDING", 9)
    assert (result.failure_reason, result.failure_message) == (
        "FILE_TYPE_NOT_SUPPORTED",
        "File type not supported for parsing.",
    )
    assert (result.extraction, result.classification) == (None, None)
    assert result.splits == ()


def test_a_step_says_by_its_type_or_its_steps_what_it_is() -> None:
    inside = {**STEP, "step": {**STEP["step"], "type": "PARSE"}}
    del inside["stepType"]
    [step] = WIRE.run({**RUN, "stepRuns": [inside]}).steps
    assert step.type == "PARSE"


def test_a_page_of_runs_is_read_from_before_summaries_had_files() -> None:
    page = WIRE.run_page({"object": "list", "data": [SUMMARY], "nextPageToken": TOKEN})
    [run] = page.items
    assert page.next_page_token == TOKEN
    assert (run.id, run.batch_id, run.file_names, run.credits) == ("id", "batchId", (), 9)
    assert (run.created_at, run.updated_at) == (TIMES["createdAt"], TIMES["updatedAt"])


def test_a_run_that_has_not_started_has_no_times() -> None:
    waiting = {**RUN, "initialRunAt": None, "startTime": None, "endTime": None, "stepRuns": [], "usage": None}
    run = WIRE.run(waiting)
    assert (run.started_at, run.ended_at, run.credits) == (None, None, None)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {
            "presignedUrl": "https://files.example/dummy.pdf",
            "contents": {
                "rawText": "rawText",
                "pages": [{"pageNumber": 1, "pageHeight": 792, "pageWidth": 612, "markdown": "# Heading"}],
                "sections": [{"startPageNumber": 1, "endPageNumber": 3, "markdown": "# Section"}],
                "sheets": [{"sheetName": "Sheet1", "rawText": "Column1,Column2"}],
            },
        },
    ],
    ids=["listed", "whole"],
)
def test_a_file_is_read(more: dict[str, Any]) -> None:
    file = WIRE.file({**FILE, **more})
    assert (file.id, file.name, file.type, file.page_count) == ("file_1", "Invoices.pdf", "PDF", 30)
    assert file.parent_file_id == "file_0"
    assert file.split == Split(id="id", type="Invoice", identifier="other_2_9", start_page=1, end_page=10)
    assert file.presigned_url == more.get("presignedUrl")
    page = WIRE.file_page({"object": "list", "data": [{**FILE, **more}], "nextPageToken": TOKEN})
    assert (page.items, page.next_page_token) == ((file,), TOKEN)


def test_a_batch_is_its_id() -> None:
    assert WIRE.batch_id({"batchId": "batch_zyx987"}) == "batch_zyx987"
