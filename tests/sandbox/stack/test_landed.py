"""Reading the warehouse back, and printing of it: from a file that the pipeline's own code wrote."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from extend_pipeline.documents import UNSUPPORTED_FILE_TYPE
from fixtures.warehouse.files import land
from fixtures.warehouse.runs import INVOICE, WORKFLOW, document, raw_lines, run
from sandbox.documents import ExpectedResult
from sandbox.stack.nightly import report
from sandbox.stack.nightly.landed import LandedWarehouse
from sandbox.stack.nightly.verify import Difference, LandedDocument, differences, places

PREFIX = "2026-11-21/"
#: Free-form objects land as JSON text, which is no place by place value; sample documents have none.
VALUE = {key: value for key, value in INVOICE.items() if key != "extras"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A warehouse with two invoices and a document that was never sent."""
    path = tmp_path / "warehouse.duckdb"
    skipped = dataclasses.replace(document(3), status="SKIPPED", reason=UNSUPPORTED_FILE_TYPE)
    short = {**VALUE, "line_items": [], "invoice_number": "INV-2"}
    runs = raw_lines(run(document(1), VALUE), run(document(2), short))
    land(path, [document(1), document(2), skipped], runs)
    return path


def test_each_value_is_found_at_its_place_in_nested_lists(file: Path) -> None:
    with LandedWarehouse(file) as warehouse:
        landed = dict(warehouse.documents(WORKFLOW, PREFIX))
    first = landed[f"{PREFIX}invoice 001.pdf"]
    assert first.values.keys() == dict(places(VALUE)).keys()
    assert (first.status, first.reason, first.kind) == ("PROCESSED", None, "invoices")
    assert landed[f"{PREFIX}invoice 003.pdf"] == LandedDocument("SKIPPED", UNSUPPORTED_FILE_TYPE)


def test_landed_values_equal_the_truth_and_a_changed_cent_is_found(file: Path) -> None:
    short = {**VALUE, "line_items": [], "invoice_number": "INV-2"}
    expected = [
        _expected(1, VALUE),
        _expected(2, short),
        ExpectedResult(f"{PREFIX}invoice 003.pdf", "SKIPPED", UNSUPPORTED_FILE_TYPE, None, None),
    ]
    assert _differences(file, expected) == []
    expected[0] = _expected(1, {**VALUE, "total": {"amount": 120.51, "iso_4217_currency_code": "EUR"}})
    (difference,) = _differences(file, expected)
    assert difference.what == "total.amount"


def test_only_the_given_workflow_and_prefix_are_read(file: Path) -> None:
    with LandedWarehouse(file) as warehouse:
        assert list(warehouse.documents("workflow_other", PREFIX)) == []
        assert list(warehouse.documents(WORKFLOW, "2026-11-22/")) == []


def test_summary_shows_statuses_tables_and_a_joined_example(file: Path) -> None:
    console = Console(file=io.StringIO(), width=160)
    with LandedWarehouse(file) as warehouse:
        report.print_warehouse(console, warehouse)
        counts, views = warehouse.table_counts(), warehouse.views()
        assert report.meanings(warehouse.extracted_tables()).keys() == counts.keys()
    text = _text(console)
    assert counts["documents"] == 3
    assert counts["invoices_line_items"] == 2
    assert ["PROCESSED", "2", "5"] in _cells(text)
    assert ["SKIPPED", "UNSUPPORTED_FILE_TYPE", "1"] in _cells(text)
    assert ["invoices", "2", "result of 'Invoices'"] in _cells(text)
    assert ["invoices_line_items", "2", "element of its line_items"] in _cells(text)
    assert text.index("invoices_line_items") < text.index("Views to start from") < text.index("dead_letters")
    assert {"dead_letters", "costs"} < views
    assert "documents" not in views
    (example,) = (row for row in _cells(text) if row[0] == "invoice 001.pdf")
    assert example[1:4] == ["2.5", "INV-1", "2026-11-21"]
    assert "USING (document_id, workflow_id, workflow_version_requested)" in text


def test_summary_has_no_example_without_extractions(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    land(path, [dataclasses.replace(document(1), status="SKIPPED", reason=UNSUPPORTED_FILE_TYPE)], [])
    console = Console(file=io.StringIO(), width=160)
    with LandedWarehouse(path) as warehouse:
        report.print_warehouse(console, warehouse)
    assert "For example" not in _text(console)


def test_requests_and_repeated_documents_are_counted() -> None:
    console = Console(file=io.StringIO(), width=160)
    stats = {
        "requests": {"POST /workflow_runs/batch": 1, "GET /workflow_runs": 3},
        "runs_created": {"a": 1, "b": 2},
    }
    report.print_requests(console, stats)
    assert ["POST /workflow_runs/batch", "1"] in _cells(_text(console))
    assert "3 runs for 2 documents; 1 sent more than once" in _text(console)


def test_results_are_counted_by_how_they_came() -> None:
    console = Console(file=io.StringIO(), width=160)
    webhooks = {"events": {"workflow_run.completed": 8, "workflow_run.failed": 2}}
    for delivered, requests in (
        (10, {"GET /workflow_runs": 2}),
        (9, {"GET /workflow_runs/{id}": 1_200, "GET /workflow_runs": 1}),
    ):
        counts = {**webhooks, "deliveries": {"delivered": delivered, "given_up": 10 - delivered}}
        report.print_results(console, {"requests": requests, "webhooks": counts})
    first, second = filter(None, _text(console).splitlines())
    assert first == "0 result requests, 2 lists; 10 events delivered"
    assert second == "1,200 result requests, 1 list; 9 events delivered, 1 not"


def test_verdict_names_differences_and_counts_the_rest() -> None:
    console = Console(file=io.StringIO(), width=160)
    report.print_verdict(console, 2, [])
    report.print_verdict(console, 30, [Difference(f"[{n}].pdf", "total", 1, 2) for n in range(25)])
    text = _text(console)
    assert "All 2 documents landed as they are in the files." in text
    assert "25 differences" in text
    assert "[0].pdf: total is 2, expected 1" in text
    assert "… and 5 more" in text


def _expected(number: int, value: dict[str, Any]) -> ExpectedResult:
    kind: Any = "invoices"  # the table's name; the emulator's extractors are called like their kinds
    return ExpectedResult(f"{PREFIX}invoice {number:03}.pdf", "PROCESSED", None, kind, value)


def _differences(file: Path, expected: list[ExpectedResult]) -> list[Difference]:
    with LandedWarehouse(file) as warehouse:
        return list(differences(expected, warehouse.documents(WORKFLOW, PREFIX)))


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _cells(text: str) -> list[list[str]]:
    rows = (
        [cell.strip() for cell in line.split("│") if cell.strip()]
        for line in text.splitlines()
        if "│" in line
    )
    return [row for row in rows if row]
