"""Low confidence: it is visible on the document's row, and can keep it out of the typed tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.documents import EMPTY_FILE, Document
from extend_pipeline.warehouse.records import Landing, LandingPolicy
from fixtures.warehouse.files import Place, contents, provenance, query, warehouse
from fixtures.warehouse.runs import INVOICE, document, extract_step, raw_lines, run

SURE, DOUBTFUL, SILENT = document(1), document(2), document(3)
FLAG, HOLD = LandingPolicy(0.8), LandingPolicy(0.8, hold=True)
TABLES = ("invoices", "invoices_line_items", "invoices_line_items_taxes", "invoices_tags")
STATE = (
    "SELECT name, lowest_confidence, min_confidence, low_confidence, approval FROM documents ORDER BY name"
)


def land(file: Place, documents: list[Document], raw: list[bytes], *, part: str, **policy: Any) -> Landing:
    with warehouse(file) as opened:
        return opened.land(documents, raw, provenance=provenance(raw_uri=part), **policy)


def confident(document: Document, *confidences: tuple[float | None, float | None], **changes: Any) -> Any:
    paths = ("invoice_number", "line_items[0].amount", "paid")
    metadata = {
        path: {"ocrConfidence": ocr, "logprobsConfidence": model}
        for path, (ocr, model) in zip(paths, confidences, strict=False)
    }
    return run(document, steps=[extract_step(INVOICE, metadata=metadata)], **changes)


RUNS = raw_lines(
    confident(SURE, (0.8, None), (0.95, 0.9)),
    confident(DOUBTFUL, (0.99, 0.5), (0.7, 0.9), (None, None)),
    confident(SILENT),
)
DOCUMENTS = [SURE, DOUBTFUL, SILENT]


def approval(line: bytes, decision: str) -> bytes:
    return json.dumps({**json.loads(line), "approval": decision}).encode() + b"\n"


def in_tables(file: Place) -> dict[str, list[str]]:
    found = "SELECT DISTINCT d.name FROM {} AS t JOIN documents AS d USING (document_id) ORDER BY d.name"
    return {table: [name[8:11] for (name,) in query(file, found.format(table))] for table in TABLES}


def test_the_lowest_confidence_of_each_document_is_on_its_row_whoever_asked(file: Place) -> None:
    land(file, DOCUMENTS, RUNS, part="raw/1")
    assert query(file, STATE) == [
        ("invoice 001.pdf", 0.8, None, None, None),
        ("invoice 002.pdf", 0.5, None, None, None),
        ("invoice 003.pdf", None, None, None, None),
    ]


def test_fields_below_the_threshold_are_counted_and_nothing_is_held_back(file: Place) -> None:
    skipped = document(4, status="SKIPPED", reason=EMPTY_FILE)
    land(file, [*DOCUMENTS, skipped], RUNS, part="raw/1", policy=FLAG)
    assert query(file, STATE) == [
        ("invoice 001.pdf", 0.8, 0.8, 0, None),
        ("invoice 002.pdf", 0.5, 0.8, 2, None),
        ("invoice 003.pdf", None, 0.8, 0, None),
        ("invoice 004.pdf", None, 0.8, None, None),
    ]
    assert set(map(tuple, in_tables(file).values())) == {("001", "002", "003")}


def test_a_document_of_several_extractions_is_judged_by_the_worst(file: Place) -> None:
    steps = [
        extract_step(INVOICE, metadata={"paid": {"ocrConfidence": confidence}}) for confidence in (0.9, 0.3)
    ]
    land(file, [SURE], raw_lines(run(SURE, steps=steps)), part="raw/1", policy=HOLD)
    assert query(file, STATE) == [("invoice 001.pdf", 0.3, 0.8, 1, "WAITING")]
    assert in_tables(file)["invoices"] == []


def test_a_held_document_is_in_every_table_but_the_typed_ones(file: Place) -> None:
    landing = land(file, DOCUMENTS, RUNS, part="raw/1", policy=HOLD)
    assert set(map(tuple, in_tables(file).values())) == {("001", "003")}
    assert query(file, "SELECT approval FROM documents ORDER BY name") == [(None,), ("WAITING",), (None,)]
    assert query(file, "SELECT count(DISTINCT document_id) FROM fields") == [(3,)]
    assert query(file, "SELECT count(*) FROM steps") == [(3,)]
    assert landing.rows["invoices"] == 2
    assert landing.rows["invoices_line_items"] == 4


def test_an_approved_document_lands_as_if_never_held(file: Place, tmp_path: Path) -> None:
    land(file, DOCUMENTS, RUNS, part="raw/1", policy=HOLD)
    land(file, [DOUBTFUL], [approval(RUNS[1], "APPROVED")], part="raw/approval")
    assert set(map(tuple, in_tables(file).values())) == {("001", "002", "003")}
    assert query(file, STATE)[1] == ("invoice 002.pdf", 0.5, 0.8, 2, "APPROVED")

    plain = tmp_path / "plain.duckdb"
    land(plain, DOCUMENTS, RUNS, part="raw/1")
    for table in (*TABLES, "fields", "steps", "runs"):
        skip = 7 if table == "runs" else 0  # what tells of the load
        rows = [[row[: len(row) - skip] for row in contents(each)[table]] for each in (file, plain)]
        assert rows[0] == rows[1], table


@pytest.mark.parametrize("decision", ["APPROVED", "REJECTED"])
def test_a_decision_is_kept_when_its_run_lands_again_in_any_order(
    file: Place, tmp_path: Path, decision: str
) -> None:
    decided = [approval(RUNS[1], decision)]
    land(file, DOCUMENTS, RUNS, part="raw/1", policy=HOLD)
    land(file, [DOUBTFUL], decided, part="raw/approval")
    land(file, DOCUMENTS, RUNS, part="raw/1", policy=HOLD)
    land(file, DOCUMENTS, RUNS, part="raw/1")
    assert query(file, STATE)[1] == ("invoice 002.pdf", 0.5, 0.8, 2, decision)
    assert ("002" in in_tables(file)["invoices"]) is (decision == "APPROVED")

    rebuilt = tmp_path / "rebuilt.duckdb"
    land(rebuilt, [DOUBTFUL], decided, part="raw/approval")
    land(rebuilt, DOCUMENTS, RUNS, part="raw/1", policy=HOLD)
    assert query(rebuilt, STATE) == query(file, STATE)
    assert in_tables(rebuilt) == in_tables(file)


def test_a_waiting_document_stays_waiting_if_it_lands_again_without_a_policy(file: Place) -> None:
    land(file, DOCUMENTS, RUNS, part="raw/1", policy=HOLD)
    land(file, DOCUMENTS, RUNS, part="raw/1")
    assert query(file, STATE)[1] == ("invoice 002.pdf", 0.5, 0.8, 2, "WAITING")
    assert "002" not in in_tables(file)["invoices"]


def test_a_document_reviewed_at_extend_needs_no_approval(file: Place) -> None:
    land(file, DOCUMENTS, RUNS, part="raw/1", policy=HOLD)
    reviewed = confident(DOUBTFUL, (0.99, 0.5), reviewed=True, reviewedAt="2026-11-23T10:00:00Z")
    land(file, [DOUBTFUL], raw_lines(reviewed), part="raw/review")
    assert query(file, STATE)[1] == ("invoice 002.pdf", 0.5, 0.8, 1, None)
    assert in_tables(file)["invoices"] == ["001", "002", "003"]


def test_a_new_run_of_a_document_needs_a_new_decision(file: Place) -> None:
    land(file, DOCUMENTS, RUNS, part="raw/1", policy=HOLD)
    land(file, [DOUBTFUL], [approval(RUNS[1], "REJECTED")], part="raw/approval")
    again = confident(DOUBTFUL, (0.9, 0.9), id="workflow_run_z", startTime="2026-11-25T09:00:00Z")
    land(file, [DOUBTFUL], raw_lines({**again, "initialRunAt": None}), part="raw/2", policy=HOLD)
    assert query(file, STATE)[1] == ("invoice 002.pdf", 0.9, 0.8, 0, None)
    assert in_tables(file)["invoices"] == ["001", "002", "003"]
