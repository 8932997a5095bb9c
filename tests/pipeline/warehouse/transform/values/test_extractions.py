"""Which tables and columns the extractions of a run land in."""

from __future__ import annotations

from typing import Any

from fixtures.warehouse.files import Place, land, provenance, query
from fixtures.warehouse.runs import (
    INVOICE,
    INVOICE_SCHEMA,
    classify_step,
    document,
    extract_step,
    raw_lines,
    run,
)

FIRST, SECOND = document(1), document(2)


def schema_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_several_extractions_by_one_extractor_are_numbered_rows(duckdb_first: Place) -> None:
    steps = [extract_step({"pages": 1, "tags": ["a"]}), extract_step({"pages": 2, "tags": ["b"]})]
    land(duckdb_first, [FIRST], raw_lines(run(FIRST, steps=steps)))
    rows = query(
        duckdb_first,
        """SELECT result_idx, pages, value FROM invoices
           JOIN invoices_tags USING (document_id, workflow_id, workflow_version_requested, result_idx)
           ORDER BY ALL""",
    )
    assert rows == [(0, 1, "a"), (1, 2, "b")]


def test_each_extractor_has_its_table(duckdb_first: Place) -> None:
    steps = [
        extract_step({"pages": 1}),
        extract_step(
            {"merchant": "Café"},
            schema=schema_of(merchant={"type": "string"}),
            extractor="Bank Receipts",
            extractor_id="ex_2",
        ),
    ]
    land(duckdb_first, [FIRST], raw_lines(run(FIRST, steps=steps)))
    assert query(duckdb_first, "SELECT merchant FROM bank_receipts") == [("Café",)]
    assert query(
        duckdb_first, "SELECT step_idx, step_type, processor_name, result_idx FROM steps ORDER BY ALL"
    ) == [
        (0, "EXTRACT", "Invoices", 0),
        (1, "EXTRACT", "Bank Receipts", 0),
    ]


def test_a_new_field_gets_a_column_and_earlier_rows_null(file: Place) -> None:
    land(
        file,
        [FIRST],
        raw_lines(run(FIRST, steps=[extract_step({"a": 1}, schema=schema_of(a={"type": "integer"}))])),
    )
    wider = schema_of(
        a={"type": "integer"}, b={"type": "string"}, c={"type": "array", "items": {"type": "string"}}
    )
    land(
        file,
        [SECOND],
        raw_lines(run(SECOND, steps=[extract_step({"a": 2, "b": "new", "c": ["x"]}, schema=wider)])),
        origin=provenance("batch_2"),
    )
    assert query(file, "SELECT a, b FROM invoices ORDER BY a") == [(1, None), (2, "new")]
    assert query(file, "SELECT value FROM invoices_c") == [("x",)]


def test_what_other_steps_say_is_kept_with_them(duckdb_first: Place) -> None:
    validation = {
        "id": "s2",
        "status": "PROCESSED",
        "stepType": "RULE_VALIDATION",
        "step": {"name": "Sums"},
        "result": {"allPassed": False},
    }
    land(duckdb_first, [FIRST], raw_lines(run(FIRST, steps=[classify_step(), validation])))
    rows = query(
        duckdb_first,
        """SELECT step_type, classification, classification_confidence, output::VARCHAR
           FROM steps ORDER BY step_idx""",
    )
    assert rows == [
        ("CLASSIFY", "invoice", 0.97, '{"id":"c1","type":"invoice","confidence":0.97}'),
        ("RULE_VALIDATION", None, None, '{"allPassed":false}'),
    ]


def test_the_dictionary_leads_from_a_column_back_to_its_field(duckdb_first: Place) -> None:
    land(duckdb_first, [FIRST], raw_lines(run(FIRST, steps=[extract_step(INVOICE)])))
    rows = query(
        duckdb_first,
        "SELECT source_path, type, description FROM dictionary WHERE column_name = 'invoice_number'",
    )
    assert rows == [
        ('["invoice_number"]', "TEXT", INVOICE_SCHEMA["properties"]["invoice_number"]["description"])
    ]
