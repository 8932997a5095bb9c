"""What a person has reviewed: the reviewed value counts, the machine's stands beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.warehouse.files import land, query
from fixtures.warehouse.runs import INVOICE, document, extract_step, raw_lines, run, run_of_2025

FIRST = document(1)
REVIEWED = {"reviewed": True, "reviewedAt": "2026-11-23T10:00:00Z"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def reviewed_step(value: dict[str, Any], initial: dict[str, Any]) -> dict[str, Any]:
    step = extract_step(value)
    step["result"]["extractRun"] |= {
        "reviewed": True,
        "edited": value != initial,
        "initialOutput": {"value": initial, "metadata": {}},
        "reviewedOutput": {"value": value, "metadata": {}},
    }
    return step


def test_the_machines_value_stands_beside_the_reviewed_one(file: Path) -> None:
    value = {**INVOICE, "invoice_number": "INV-2", "line_items": INVOICE["line_items"][:1]}
    land(file, [FIRST], raw_lines(run(FIRST, steps=[reviewed_step(value, INVOICE)], **REVIEWED)))

    edited = query(file, "SELECT path, value, machine_value FROM fields WHERE edited ORDER BY path")
    assert edited == [
        ("invoice_number", "INV-2", "INV-1"),
        ("line_items[1].amount", None, "20.25"),
    ]
    assert query(file, "SELECT invoice_number FROM invoices") == [("INV-2",)]
    unedited = "SELECT bool_and(value IS NOT DISTINCT FROM machine_value) FROM fields WHERE NOT edited"
    assert query(file, unedited) == [(True,)]


def test_without_a_review_both_values_are_the_same(file: Path) -> None:
    land(file, [FIRST], raw_lines(run(FIRST)))
    found = "SELECT count(*) > 10, bool_or(edited), bool_and(value IS NOT DISTINCT FROM machine_value)"
    assert query(file, f"{found} FROM fields") == [(True, False, True)]


def test_the_older_api_version_has_both_values_too(file: Path) -> None:
    raw = run_of_2025(FIRST, {**INVOICE, "pages": 3})
    raw["outputs"][0] |= {"reviewed": True, "edited": True, "initialOutput": {"value": INVOICE}}
    land(file, [FIRST], raw_lines(raw, api_version="2025-04-21"))
    assert query(file, "SELECT path, value, machine_value FROM fields WHERE edited") == [("pages", "3", "2")]
