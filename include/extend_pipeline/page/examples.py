"""Answers of every shape, by which the page in ``static/`` can be built before the warehouse is asked."""

from __future__ import annotations

import datetime as dt
from typing import Final

from extend_pipeline.page import answers

_NOW: Final = "2026-11-27T02:14:05Z"
_READY: Final[answers.Condition] = {"state": "ready", "notice": None, "as_of": _NOW}
_RUN: Final = "dags/extend_nightly/runs/scheduled__2026-11-27T02%3A00%3A00%2B00%3A00"
_DASHBOARD: Final = "https://dashboard.extend.ai/runs/workflow_run_7"

PIPELINES: Final[list[answers.Pipeline]] = [
    {
        **_READY,
        "dag_id": "extend_nightly",
        "task_group": "documents_to_warehouse",
        "warehouse": {"kind": "duckdb", "conn_id": "warehouse_default", "dataset": "extend"},
        "workflow_id": "workflow_mixed",
        "version": None,
        "last_run_id": "scheduled__2026-11-27T02:00:00+00:00",
        "last_planned_at": _NOW,
        "tasks": {
            "plan": "documents_to_warehouse.plan",
            "submit": "documents_to_warehouse.chunk.submit",
            "wait": "documents_to_warehouse.chunk.wait",
            "load": "documents_to_warehouse.chunk.load",
            "finish": "documents_to_warehouse.finish",
            "approve": None,
        },
    },
    {
        "state": "unreadable",
        "notice": "The connection 'warehouse_other' is not known to the API server.",
        "as_of": None,
        "dag_id": "extend_arrivals",
        "task_group": "documents_to_warehouse",
        "warehouse": {"kind": "snowflake", "conn_id": "warehouse_other", "dataset": "extend"},
        "workflow_id": "workflow_mixed",
        "version": "7",
        "last_run_id": "manual__2026-11-26",
        "last_planned_at": "2026-11-26T10:00:00Z",
        "tasks": {
            "plan": "documents_to_warehouse.plan",
            "submit": "documents_to_warehouse.chunk.submit",
            "wait": "documents_to_warehouse.chunk.wait",
            "load": "documents_to_warehouse.chunk.load",
            "finish": "documents_to_warehouse.finish",
            "approve": "documents_to_warehouse.approve",
        },
    },
]


def _day(number: int) -> answers.Day:
    day = dt.date(2026, 10, 29) + dt.timedelta(number)
    counts = {"PROCESSED": 900 + 7 * number, "NEEDS_REVIEW": number % 5, "FAILED": number % 3}
    return {"day": day.isoformat(), "documents": counts, "credits": 1200.5 + number}


OVERVIEW: Final[answers.Overview] = {
    **_READY,
    "days": [_day(number) for number in range(30)],
    "total": {"PROCESSED": 987_654, "NEEDS_REVIEW": 61, "FAILED": 312, "CANCELLED": 4, "SKIPPED": 88},
    "credits": 36_450.0,
    "budget": {"limit": None, "max_documents": 5_000, "max_credits": 2_000.0},
    "reservations": {"chunks": 3, "documents": 2_417, "oldest": "2026-11-27T02:00:41Z"},
    "dead_letters": {"INTERNAL_ERROR": 200, "CORRUPT_FILE": 112, "CANCELLED": 4},
    "in_review": 61,
    "waiting_for_approval": 12,
    "runs": [
        {
            "run_id": "scheduled__2026-11-27T02:00:00+00:00",
            "at": _NOW,
            "by_status": {"PROCESSED": 990, "FAILED": 10},
            "credits": 1_203.0,
        }
    ],
}

DEAD_LETTERS: Final[answers.DeadLetters] = {
    **_READY,
    "total": 316,
    "by_reason": {"INTERNAL_ERROR": 200, "CORRUPT_FILE": 112, "CANCELLED": 4},
    "rows": [
        {
            "document_id": f"{number:032x}",
            "address": f"s3://acme-inbox/documents/2026-11-26/<b>invoice {number}</b>.pdf",
            "name": f"<b>invoice {number}</b>.pdf",
            "workflow_id": "workflow_mixed",
            "version": None,
            "status": "FAILED",
            "reason": "INTERNAL_ERROR",
            "message": "The processor has failed.",
            "at": "2026-11-26T02:41:00Z",
            "attempts": 3,
            "credits": 0.0,
            "resending": number == 2,
            "dashboard_url": _DASHBOARD,
            "run_path": _RUN,
        }
        for number in range(3)
    ],
    "next": "example",
    "send_again": [
        {
            "dag_id": "extend_on_demand",
            "workflow_id": "workflow_mixed",
            "version": None,
            "documents": 316,
            "conf": {
                "reprocess": "failed",
                "workflow_id": "workflow_mixed",
                "version": None,
                "warehouse_conn_id": "warehouse_default",
                "dataset": "extend",
            },
        }
    ],
}

REVIEWS: Final[answers.Reviews] = {
    **_READY,
    "in_review": 61,
    "waiting_for_approval": 12,
    "rows": [
        {
            "document_id": "0" * 32,
            "address": "s3://acme-inbox/documents/2026-11-26/receipt.png",
            "name": "receipt.png",
            "waits_for": "review",
            "since": "2026-11-26T02:41:00Z",
            "low_confidence": 2,
            "lowest_confidence": 0.41,
            "credits": 1.5,
            "dashboard_url": _DASHBOARD,
            "actions_path": None,
        },
        {
            "document_id": "1" * 32,
            "address": "s3://acme-inbox/documents/2026-11-26/order.pdf",
            "name": "order.pdf",
            "waits_for": "approval",
            "since": "2026-11-26T03:00:00Z",
            "low_confidence": 1,
            "lowest_confidence": 0.7,
            "credits": 1.5,
            "dashboard_url": _DASHBOARD,
            "actions_path": f"{_RUN}/required_actions",
        },
    ],
    "next": None,
}

SEARCH: Final[answers.Search] = {
    **_READY,
    "rows": [
        {
            "document_id": "0" * 32,
            "address": "s3://acme-inbox/documents/2026-11-26/receipt.png",
            "name": "receipt.png",
            "workflow_id": "workflow_mixed",
            "version": None,
            "status": "NEEDS_REVIEW",
            "reason": None,
            "landed_at": "2026-11-26T02:41:00Z",
        }
    ],
    "complete": True,
}


def _moment(what: answers.What, at: str, **more: object) -> answers.Moment:
    empty = dict.fromkeys(("status", "reason", "message", "by", "credits", "run_id", "dashboard_url"))
    return {"what": what, "at": at, **empty, **more}  # type: ignore[typeddict-item]


STORY: Final[answers.Story] = {
    **_READY,
    "document_id": "0" * 32,
    "address": "s3://acme-inbox/documents/2026-11-26/receipt.png",
    "name": "receipt.png",
    "size_bytes": 48_211,
    "etag": "d41d8cd98f00b204e9800998ecf8427e",
    "last_modified": "2026-11-26T01:10:00Z",
    "landed": [
        {
            "workflow_id": "workflow_mixed",
            "workflow_name": "Mixed mail",
            "version": None,
            "version_used": "7",
            "status": "PROCESSED",
            "reason": None,
            "message": None,
            "attempts": 2,
            "credits": 1.5,
            "approval": None,
            "run_id": "workflow_run_7",
            "batch_id": "batch_3",
            "dashboard_url": _DASHBOARD,
            "run_path": _RUN,
            "timeline": [
                _moment("found", "2026-11-26T01:10:00Z"),
                _moment("sent", "2026-11-26T02:01:00Z", run_id="workflow_run_6"),
                _moment(
                    "attempt",
                    "2026-11-26T02:11:00Z",
                    status="FAILED",
                    reason="INTERNAL_ERROR",
                    message="The processor has failed.",
                    run_id="workflow_run_6",
                ),
                _moment("sent", "2026-11-26T02:12:00Z", run_id="workflow_run_7"),
                _moment(
                    "attempt",
                    "2026-11-26T02:20:00Z",
                    status="PROCESSED",
                    credits=1.5,
                    run_id="workflow_run_7",
                    dashboard_url=_DASHBOARD,
                ),
                _moment("landed", "2026-11-26T02:41:00Z", status="NEEDS_REVIEW"),
                _moment("reviewed", "2026-11-26T09:00:00Z", status="PROCESSED", by="jo@acme.example"),
            ],
            "fields": [
                {
                    "extractor": "receipt",
                    "path": "total.amount",
                    "value": "13.00",
                    "confidence": 0.41,
                    "ocr_confidence": 0.9,
                    "logprobs_confidence": 0.41,
                    "low": True,
                    "page": 2,
                    "cell_range": None,
                    "reference_text": "Total: 18.00 EUR",
                    "citations": 1,
                    "edited": True,
                    "machine_value": "18.00",
                }
            ],
            "fields_total": 1,
        }
    ],
}
