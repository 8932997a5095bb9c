"""Synthetic runs of an invoice workflow: some 3.5 KB each, 0 to 10 line items, 0 to 2 taxes."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator
from typing import Any, Final

from extend_pipeline.documents import Document

WORKFLOW: Final = "workflow_invoices"
_TEXT: Final = {"type": ["string", "null"]}
_NUMBER: Final = {"type": ["number", "null"]}
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "invoice_number": _TEXT,
        "invoice_date": {"type": ["string", "null"], "extend:type": "date"},
        "currency": _TEXT,
        "vendor": {"type": "object", "properties": {"name": _TEXT, "vat_id": _TEXT}},
        "net": _NUMBER,
        "total": _NUMBER,
        "line_items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"description": _TEXT, "quantity": _NUMBER, "amount": _NUMBER},
            },
        },
        "taxes": {
            "type": "array",
            "items": {"type": "object", "properties": {"rate": _NUMBER, "amount": _NUMBER}},
        },
    },
}
#: The fields that carry evidence; the other ones have a value alone.
WITH_EVIDENCE: Final = (
    "invoice_number",
    "invoice_date",
    "currency",
    "vendor.name",
    "vendor.vat_id",
    "net",
    "total",
)


def documents(first: int, count: int) -> Iterator[Document]:
    """Yield ``count`` documents; number ``first`` is the first one."""
    for number in range(first, first + count):
        yield Document(
            uri=f"s3://inbox/invoices/{number:08}.pdf",
            etag=f"etag-{number}",
            size_bytes=100_000 + number,
            last_modified="2026-11-21T08:00:00Z",
        )


def lines(first: int, count: int, items: int | None = None) -> Iterator[bytes]:
    """Yield the raw zone's line of each of these documents.

    :param items: line items of each; by default 0 to 10.
    """
    for number, document in enumerate(documents(first, count), start=first):
        line = {"api_version": "2026-02-09", "run": _run(number, document, items)}
        yield json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _run(number: int, document: Document, items: int | None) -> dict[str, Any]:
    return {
        "object": "workflow_run",
        "id": f"workflow_run_{number:08}",
        "status": "PROCESSED",
        "workflow": {"id": WORKFLOW, "name": "Invoices"},
        "workflowVersion": {"id": "workflow_version_7", "version": "7"},
        "metadata": {"document_id": document.id},
        "batchId": "batch_1",
        "startTime": "2026-11-21T09:00:01.000Z",
        "endTime": "2026-11-21T09:00:11.285Z",
        "stepRuns": [
            {
                "id": f"step_run_{number:08}",
                "status": "PROCESSED",
                "stepType": "EXTRACT",
                "step": {"name": "Extract"},
                "result": {"extractRun": _extract_run(number, items)},
            }
        ],
        "usage": {"credits": 2},
    }


def _extract_run(number: int, count: int | None) -> dict[str, Any]:
    chance = random.Random(number)
    items = [_item(chance) for _ in range(chance.randint(0, 10) if count is None else count)]
    net = round(sum(item["amount"] for item in items), 2)
    taxes = [{"rate": rate, "amount": round(net * rate, 2)} for rate in (0.19, 0.07)[: chance.randint(0, 2)]]
    value = {
        "invoice_number": f"INV-{number:08}",
        "invoice_date": str(dt.date(2020, 1, 1) + dt.timedelta(number % 2000)),
        "currency": "EUR",
        "vendor": {"name": f"Vendor {number % 997} GmbH", "vat_id": f"DE{number % 997:09}"},
        "net": net,
        "total": round(net + sum(tax["amount"] for tax in taxes), 2),
        "line_items": items,
        "taxes": taxes,
    }
    return {
        "id": f"extract_run_{number:08}",
        "status": "PROCESSED",
        "extractor": {"id": "ex_invoices", "name": "Invoices"},
        "extractorVersion": {"version": "3"},
        "config": {"schema": SCHEMA},
        "output": {"value": value, "metadata": {path: _evidence(chance) for path in WITH_EVIDENCE}},
    }


def _item(chance: random.Random) -> dict[str, Any]:
    return {
        "description": f"Article {chance.randrange(10**6)}",
        "quantity": chance.randint(1, 20),
        "amount": round(chance.uniform(1, 1000), 2),
    }


def _evidence(chance: random.Random) -> dict[str, Any]:
    x, y = round(chance.uniform(0, 600), 2), round(chance.uniform(0, 700), 2)
    corners = [(x, y), (x + 50, y), (x + 50, y + 12), (x, y + 12)]
    polygon = [{"x": round(x, 2), "y": round(y, 2)} for x, y in corners]
    return {
        "ocrConfidence": round(chance.random(), 4),
        "logprobsConfidence": round(chance.random(), 6),
        "citations": [{"page": {"number": 1}, "referenceText": "a line", "polygon": polygon}],
    }
