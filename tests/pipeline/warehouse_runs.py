"""Raw runs as Extend sends them, small enough to read, and documents that they belong to."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from extend_pipeline.documents import Document

WORKFLOW = "workflow_invoices"

INVOICE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "invoice_number": {"type": ["string", "null"], "description": "Number printed on the invoice"},
        "invoice_date": {"type": ["string", "null"], "extend:type": "date"},
        "paid": {"type": ["boolean", "null"]},
        "pages": {"type": ["integer", "null"]},
        "status": {"enum": ["open", "closed", None]},
        "vendor": {
            "type": "object",
            "properties": {
                "name": {"type": ["string", "null"]},
                "address": {"type": "object", "properties": {"city": {"type": ["string", "null"]}}},
            },
        },
        "total": {
            "type": "object",
            "extend:type": "currency",
            "properties": {
                "amount": {"type": ["number", "null"]},
                "iso_4217_currency_code": {"type": ["string", "null"]},
            },
        },
        "tags": {"type": "array", "items": {"type": "string"}},
        "extras": {"type": "object"},
        "line_items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "description": {"type": ["string", "null"]},
                    "amount": {"type": ["number", "null"]},
                    "taxes": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"rate": {"type": "number"}}},
                    },
                },
            },
        },
    },
}

INVOICE: dict[str, Any] = {
    "invoice_number": "INV-1",
    "invoice_date": "2026-11-21",
    "paid": True,
    "pages": 2,
    "status": "open",
    "vendor": {"name": "Müller & Söhne", "address": {"city": "Köln"}},
    "total": {"amount": 120.5, "iso_4217_currency_code": "EUR"},
    "tags": ["urgent", None],
    "extras": {"any": [1, {"thing": True}]},
    "line_items": [
        {"description": "Paper", "amount": 100.25, "taxes": [{"rate": 0.19}, {"rate": 0.07}]},
        {"description": None, "amount": 20.25, "taxes": []},
    ],
}


def document(number: int = 1, **changes: Any) -> Document:
    """Return a discovered document; ``number`` makes it another one."""
    defaults: dict[str, Any] = {
        "uri": f"s3://inbox/2026-11-21/invoice {number:03}.pdf",
        "etag": f"etag-{number}",
        "size_bytes": 1000 + number,
        "last_modified": "2026-11-21T08:00:00Z",
    }
    return Document(**{**defaults, **changes})


def extract_step(
    value: Any,
    *,
    schema: Any = INVOICE_SCHEMA,
    metadata: Mapping[str, Any] | None = None,
    extractor: str = "Invoices",
    extractor_id: str = "ex_invoices",
) -> dict[str, Any]:
    """Return an EXTRACT step of 2026-02-09."""
    return {
        "object": "workflow_step_run",
        "id": "workflow_step_run_1",
        "status": "PROCESSED",
        "stepType": "EXTRACT",
        "step": {"object": "workflow_step", "id": "step_1", "name": "Extract", "type": "EXTRACT"},
        "result": {
            "extractRun": {
                "object": "extract_run",
                "id": "exr_1",
                "status": "PROCESSED",
                "reviewed": False,
                "edited": False,
                "config": {"schema": schema} if schema is not None else {},
                "extractor": {"id": extractor_id, "name": extractor},
                "extractorVersion": {"version": "3"},
                "output": {"value": value, "metadata": dict(metadata or {})},
                "usage": {"credits": 2},
            }
        },
    }


def classify_step() -> dict[str, Any]:
    """Return a CLASSIFY step of 2026-02-09."""
    return {
        "id": "workflow_step_run_0",
        "status": "PROCESSED",
        "stepType": "CLASSIFY",
        "step": {"name": "Sort"},
        "result": {
            "classifyRun": {
                "id": "clr_1",
                "status": "PROCESSED",
                "classifier": {"id": "cl_1", "name": "Kinds"},
                "output": {"id": "c1", "type": "invoice", "confidence": 0.97},
            }
        },
    }


def run(document: Document | None, value: Any = INVOICE, **changes: Any) -> dict[str, Any]:
    """Return a run of 2026-02-09; ``steps`` and every other key of the run can be given."""
    number = "x" if document is None else document.id[:8]
    steps = changes.pop("steps", None)
    return {
        "object": "workflow_run",
        "id": f"workflow_run_{number}",
        "status": "PROCESSED",
        "workflow": {"object": "workflow", "id": WORKFLOW, "name": "Invoices"},
        "workflowVersion": {"object": "workflow_version", "id": "workflow_version_1", "version": "7"},
        "dashboardUrl": f"https://dashboard.extend.ai/workflows/workflow_run_{number}",
        "metadata": {} if document is None else {"document_id": document.id},
        "batchId": "batch_1",
        "files": [],
        "initialRunAt": "2026-11-21T09:00:00.000Z",
        "startTime": "2026-11-21T09:00:01.000Z",
        "endTime": "2026-11-21T09:00:11.285Z",
        "reviewed": False,
        "stepRuns": [extract_step(value)] if steps is None else steps,
        "usage": {"credits": 2.5, "breakdown": []},
        **changes,
    }


def run_of_2025(document: Document, value: Any = INVOICE) -> dict[str, Any]:
    """Return a run of 2025-04-21."""
    return {
        "object": "workflow_run",
        "id": "workflow_run_2025",
        "name": "invoice",
        "url": "https://dashboard.extend.ai/workflows/workflow_run_2025",
        "status": "PROCESSED",
        "workflow": {"id": WORKFLOW, "name": "Invoices", "version": "6"},
        "metadata": {"document_id": document.id},
        "batchId": "batch_1",
        "startTime": "2026-11-21T09:00:01.000Z",
        "endTime": "2026-11-21T09:00:11.285Z",
        "reviewed": False,
        "outputs": [
            {
                "object": "document_processor_run",
                "id": "dpr_1",
                "processorId": "dp_invoices",
                "processorVersionId": "dpv_1",
                "processorName": "Invoices",
                "status": "PROCESSED",
                "type": "EXTRACT",
                "reviewed": False,
                "edited": False,
                "config": {"type": "EXTRACT", "schema": INVOICE_SCHEMA},
                "output": {
                    "value": value,
                    "metadata": {
                        "invoice_number": {
                            "ocrConfidence": 0.9,
                            "citations": [{"page": 2, "pageWidth": 612, "referenceText": "INV-1"}],
                        }
                    },
                },
            }
        ],
        "stepRuns": [],
    }


def raw_lines(*runs: Mapping[str, Any], api_version: str = "2026-02-09") -> list[bytes]:
    """Return runs as lines of the raw zone."""
    return [json.dumps({"api_version": api_version, "run": each}).encode() + b"\n" for each in runs]


def many(count: int) -> tuple[list[Document], Iterable[bytes]]:
    """Return ``count`` documents and the lines of their runs: 0 to 10 items, evidence for every field."""
    return [document(number) for number in range(count)], many_lines(count)


def many_lines(count: int) -> Iterator[bytes]:
    """Yield the lines of :func:`many`."""
    chance = random.Random(7)
    for number in range(count):
        yield from raw_lines(run(document(number), steps=[invoice_step(number, chance)]))


def invoice_step(number: int, chance: random.Random) -> dict[str, Any]:
    """Return an extraction of random size with confidences and a polygon for every field."""
    items = [
        {
            "description": f"Article {chance.randrange(10**6)}",
            "amount": round(chance.uniform(1, 1000), 2),
            "taxes": [{"rate": 0.19}] if chance.random() < 0.2 else [],
        }
        for _ in range(chance.randint(0, 10))
    ]
    value = {**INVOICE, "invoice_number": f"INV-{number}", "line_items": items}
    paths = ["invoice_number", "invoice_date", "paid", "pages", "status", "vendor.name", "total.amount"]
    paths += [f"line_items[{i}].{key}" for i in range(len(items)) for key in ("description", "amount")]
    return extract_step(value, metadata={path: evidence(chance) for path in paths})


def evidence(chance: random.Random) -> dict[str, Any]:
    """Return what Extend says of a field."""
    x, y = round(chance.uniform(0, 600), 3), round(chance.uniform(0, 700), 3)
    corners = [(x, y), (x + 50, y), (x + 50, y + 12), (x, y + 12)]
    return {
        "ocrConfidence": round(chance.random(), 4),
        "logprobsConfidence": round(chance.random(), 6),
        "reviewAgentScore": chance.randint(1, 5),
        "citations": [
            {
                "page": {"number": 1, "width": 612, "height": 792},
                "referenceText": "a line of text",
                "polygon": [{"x": x, "y": y} for x, y in corners],
            }
        ],
    }
