"""Extend's own types, spreadsheets and parse runs, from the files to the tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fixtures.airflow.dag_runs import Outside
from fixtures.sources.spreadsheets import workbook

RunDag = Callable[..., Any]

SIGNED = b"""INVOICE
Vendor: Acme GmbH
Invoice number: INV-7
Invoice date: 2026-11-02
Currency: EUR
Total: 119.00
Signed by: Jane Doe, CFO, 2026-11-03
"""
SHEETS = workbook(
    [["Instructions"], ["Nothing here"]],
    [["INVOICE"], ["Invoice number", "INV-8"], ["Currency", "USD"], ["Total", "12.50"]],
)


def test_typed_fields_cells_and_parse_runs_land(outside: Outside, run_dag: RunDag) -> None:
    outside.extend.configure(credits_per_page=2.0, parse_credits_per_page=0.5)
    outside.put("in/signed.txt", SIGNED)
    outside.put("in/book.xlsx", SHEETS)
    conf = {"source": f"s3://{outside.bucket}/in/", "workflow_id": "workflow_typed"}
    assert run_dag("extend_on_demand", logical_date=None, run_conf=conf).state == "success"

    assert outside.statuses() == {
        "in/signed.txt": ("PROCESSED", None),
        "in/book.xlsx": ("PROCESSED", None),
    }
    assert outside.rows(
        """SELECT invoice_number, total_amount, total_iso_4217_currency_code, signature_printed_name,
                  signature_signature_date, signature_is_signed, signature_title_or_role
           FROM extend.typed_invoice ORDER BY invoice_number"""
    ) == [
        ("INV-7", Decimal("119"), "EUR", "Jane Doe", dt.date(2026, 11, 3), True, "CFO"),
        ("INV-8", Decimal("12.5"), "USD", None, None, False, None),
    ]
    types = outside.rows(
        """SELECT column_name, data_type FROM duckdb_columns()
           WHERE table_name = 'typed_invoice'
             AND (column_name LIKE 'signature%' OR column_name LIKE 'total%')"""
    )
    assert dict(types) == {
        "total_amount": "DECIMAL(38,9)",
        "total_iso_4217_currency_code": "VARCHAR",
        "signature_printed_name": "VARCHAR",
        "signature_signature_date": "DATE",
        "signature_is_signed": "BOOLEAN",
        "signature_title_or_role": "VARCHAR",
    }
    assert outside.rows("SELECT code, path, message FROM extend.problems") == []
    cited = "SELECT path, page, cell_range, polygon IS NULL, reference_text FROM extend.fields"
    assert outside.rows(
        f"""{cited} JOIN extend.documents USING (document_id) WHERE uri LIKE '%.xlsx' AND page = 2
            ORDER BY cell_range"""
    ) == [
        ("invoice_number", 2, "B2", True, "INV-8"),
        ("currency", 2, "B3", True, "USD"),
        ("total.amount", 2, "B4", True, "12.50"),
    ]
    # One page of text, two sheets, each read once for its extraction.
    assert outside.rows("SELECT key, credits FROM extend.documents ORDER BY key") == [
        ("in/book.xlsx", Decimal("5")),
        ("in/signed.txt", Decimal("2.5")),
    ]
    assert outside.rows("SELECT sum(credits) FROM extend.steps") == [(Decimal("6"),)]
    assert outside.rows("SELECT sum(credits) FROM extend.runs") == [(Decimal("7.5"),)]
