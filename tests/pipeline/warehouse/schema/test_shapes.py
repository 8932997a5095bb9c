"""Whatever an extractor answers as its value lands: an object as a rule, but null, a text or a list, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.warehouse.files import Place, land, query
from fixtures.warehouse.runs import INVOICE_SCHEMA, document, raw_lines, run, run_of_2025

FIRST = document(1)
VERSIONS = ("2026-02-09", "2025-04-21")
LONG = ["an item of a list that is long enough to be cut out of its line"] * 5


@pytest.fixture
def only_file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def answer(version: str, schema: Any = INVOICE_SCHEMA, **changes: Any) -> list[bytes]:
    """Return a run in either API version, with what its extractor's run is to have instead."""
    if version == "2025-04-21":
        raw = run_of_2025(FIRST)
        (step,) = raw["outputs"]
    else:
        raw = run(FIRST)
        step = raw["stepRuns"][0]["result"]["extractRun"]
    step |= {"config": {} if schema is None else {"schema": schema}, **changes}
    step = {key: value for key, value in step.items() if value is not ...}
    if version == "2025-04-21":
        raw["outputs"] = [step]
    else:
        raw["stepRuns"][0]["result"]["extractRun"] = step
    return raw_lines(raw, api_version=version)


def problems(file: Place) -> list[tuple[Any, ...]]:
    return query(file, "SELECT code, table_name, column_name, path, value FROM problems ORDER BY ALL")


NOTHING: list[Any] = [
    {"value": None, "metadata": {}},
    {"value": None},
    {"value": None, "metadata": {"invoice_number": {"ocrConfidence": 0.5}}},
    {"metadata": {}},
    {},
    None,
    ...,
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("output", NOTHING, ids=repr)
def test_an_extraction_of_nothing_is_a_row_with_nulls(only_file: Path, version: str, output: Any) -> None:
    land(only_file, [FIRST], answer(version, output=output))
    ((row,),) = query(only_file, "SELECT invoices FROM invoices")
    assert row["document_id"] == FIRST.id
    assert {row[name] for name in ("invoice_number", "paid", "total_amount", "vendor_name", "extras")} == {
        None
    }
    for table in ("invoices_line_items", "invoices_tags"):
        assert query(only_file, f"SELECT count(*) FROM {table}") == [(0,)]
    said = {"invoice_number"} if "invoice_number" in str(output) else set()
    assert {path for (path,) in query(only_file, "SELECT path FROM fields")} == said
    assert query(only_file, "SELECT result_idx FROM steps") == [(0,)]
    assert problems(only_file) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "PROCESSING"])
def test_an_extraction_that_has_not_ended_well_has_no_row(only_file: Path, version: str, status: str) -> None:
    land(only_file, [FIRST], answer(version, output=None, status=status))
    assert query(only_file, "SELECT result_idx FROM steps") == [(None,)]
    assert query(only_file, "SELECT count(*) FROM fields") == [(0,)]


SCALARS: list[tuple[Any, str, Any, str]] = [
    ({"type": "string"}, "TEXT", "all of it", "all of it"),
    ({"type": ["string", "null"], "description": "d"}, "TEXT", "x" * 1000, "x" * 1000),
    ({"type": "string", "extend:type": "date"}, "DATE", "2026-11-21", "2026-11-21"),
    ({"type": "integer"}, "INTEGER", 7, "7"),
    ({"type": "boolean"}, "BOOLEAN", True, "true"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("schema", "kind", "value", "text"), SCALARS)
def test_a_declared_scalar_is_the_column_value(
    only_file: Path, version: str, schema: Any, kind: str, value: Any, text: str
) -> None:
    output = {"value": value, "metadata": {"": {"ocrConfidence": 0.5}}}
    land(only_file, [FIRST], answer(version, schema, output=output))
    assert query(only_file, "SELECT value::VARCHAR FROM invoices") == [(text,)]
    assert query(only_file, "SELECT path, value, ocr_confidence FROM fields") == [("", text, 0.5)]
    columns = "SELECT table_name, source_path, type, description FROM dictionary WHERE column_name = 'value'"
    assert query(only_file, columns) == [("invoices", "[]", kind, schema.get("description"))]
    assert problems(only_file) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "value", [["a", "b"], [], LONG, [{"a": 1}, [2]]], ids=["texts", "none", "long", "mixed"]
)
def test_a_declared_list_is_the_column_value(only_file: Path, version: str, value: Any) -> None:
    schema = {"type": "array", "items": {}}
    land(only_file, [FIRST], answer(version, schema, output={"value": value, "metadata": {}}))
    ((landed,),) = query(only_file, "SELECT value::VARCHAR FROM invoices")
    assert json.loads(landed) == value
    assert query(only_file, "SELECT type FROM dictionary WHERE column_name = 'value'") == [("JSON",)]
    paths = [path for (path,) in query(only_file, "SELECT path FROM fields ORDER BY path")]
    assert paths == (
        ["[0].a", "[1][0]"] if value and value[0] == {"a": 1} else [f"[{n}]" for n in range(len(value))]
    )
    assert problems(only_file) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spelling", ["[1].a", "1.a", "$[1].a", ".1.a"])
def test_items_of_a_list_have_their_evidence(only_file: Path, version: str, spelling: str) -> None:
    output = {"value": [{"a": 1}, {"a": 2}], "metadata": {spelling: {"ocrConfidence": 0.5}}}
    land(only_file, [FIRST], answer(version, None, output=output))
    assert query(only_file, "SELECT path, value, ocr_confidence FROM fields ORDER BY path") == [
        ("[0].a", "1", None),
        ("[1].a", "2", 0.5),
    ]
    assert [row[0] for row in problems(only_file)] == ["NO_SCHEMA"]


MISFITS: list[tuple[Any, str, list[tuple[str, str]]]] = [
    ("all of it", "all of it", [("", "all of it")]),
    (7, "7", [("", "7")]),
    (["a", {"b": None}], '["a",{"b":null}]', [("[0]", "a"), ("[1].b", None)]),  # type: ignore[list-item]
    ([], "[]", []),
]


@pytest.mark.parametrize(("value", "whole", "fields"), MISFITS, ids=lambda each: str(each)[:12])
def test_a_value_that_is_not_the_declared_object_is_kept_as_every_misfit(
    file: Place, value: Any, whole: str, fields: list[tuple[str, str]]
) -> None:
    land(file, [FIRST], answer("2026-02-09", output={"value": value, "metadata": {}}))
    assert query(file, "SELECT invoice_number, paid FROM invoices") == [(None, None)]
    assert ("WRONG_TYPE", "invoices", None, "", whole) in problems(file)
    assert query(file, "SELECT path, value FROM fields ORDER BY path") == fields


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "output", ["all of it", ["a"], {"invoice_number": "INV-1"}, {"odd": {"x": 1}}], ids=str
)
def test_an_output_of_no_known_shape_is_the_value(only_file: Path, version: str, output: Any) -> None:
    land(only_file, [FIRST], answer(version, output=output))
    assert query(only_file, "SELECT count(*) FROM invoices") == [(1,)]
    assert query(only_file, "SELECT count(*) FROM fields") == [(1,)]
    assert bool(problems(only_file)) is (output != {"invoice_number": "INV-1"})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_review_of_nothing_is_told_as_an_edit(only_file: Path, version: str) -> None:
    """The machine has found nothing, the reviewer something; or the other way round."""
    some: Any = {"value": {"invoice_number": "INV-1"}, "metadata": {}}
    nothing: Any = {"value": None, "metadata": {}}
    told = "SELECT path, value, machine_value FROM fields WHERE edited"
    for number, (output, initial, row) in enumerate(
        [(some, nothing, ("INV-1", None)), (nothing, some, (None, "INV-1"))]
    ):
        file = only_file.with_name(f"{number}.duckdb")
        land(file, [FIRST], answer(version, output=output, initialOutput=initial, reviewed=True, edited=True))
        assert query(file, told) == [("invoice_number", *row)]


def of_fields(**changes: Any) -> dict[str, Any]:
    """Return a field of a fields-array extractor."""
    box = {"left": 1, "top": 2, "right": 3, "bottom": 4}
    reference = {"id": "f", "fieldName": "total", "page": 2, "boundingBoxes": [box, box]}
    field = {"id": "f", "type": "currency", "value": 12.5, "confidence": 0.25, "references": [reference]}
    return {key: value for key, value in {**field, **changes}.items() if value is not ...}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flat_map_of_fields_keeps_confidences_and_references(only_file: Path, version: str) -> None:
    rows = [{"name": "a"}, {"name": "b"}]
    output = {
        "total": of_fields(),
        "value": of_fields(type="string", value="v", confidence=None, references=...),
        "metadata": of_fields(type="array", value=rows, references=[]),
        "note": "no field at all",
    }
    land(only_file, [FIRST], answer(version, None, output=output))
    polygon = [{"x": 1, "y": 2}, {"x": 3, "y": 2}, {"x": 3, "y": 4}, {"x": 1, "y": 4}]
    columns = "path, value, logprobs_confidence, page, polygon::VARCHAR, citations"
    assert query(only_file, f"SELECT {columns} FROM fields ORDER BY path") == [
        ("metadata", None, 0.25, None, None, 0),
        ("metadata[0].name", "a", None, None, None, None),
        ("metadata[1].name", "b", None, None, None, None),
        ("note", "no field at all", None, None, None, None),
        ("total", "12.5", 0.25, 2, json.dumps(polygon, separators=(",", ":")), 1),
        ("value", "v", None, None, None, 0),
    ]
    assert query(only_file, "SELECT lowest_confidence FROM documents") == [(0.25,)]
    assert [row[0] for row in problems(only_file)] == ["NO_SCHEMA"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["invoice", 3])
@pytest.mark.parametrize("more", [{}, {"newer": {"a": 1}}])
def test_a_value_with_the_names_of_a_field_is_no_flat_map(
    only_file: Path, version: str, kind: str | int, more: Any
) -> None:
    output = {"value": {"id": "i", "type": kind, "value": "x"}, "metadata": {"id": {"ocrConfidence": 0.5}}}
    land(only_file, [FIRST], answer(version, None, output={**output, **more}))
    assert query(only_file, "SELECT path, value, ocr_confidence FROM fields ORDER BY path") == [
        ("id", "i", 0.5),
        ("type", str(kind), None),
        ("value", "x", None),
    ]


def test_a_member_that_only_looks_like_a_field_is_kept_whole(only_file: Path) -> None:
    output = {"total": of_fields(), "odd": {"id": "i", "type": 3, "value": "x"}}
    land(only_file, [FIRST], answer("2026-02-09", None, output=output))
    assert {path for (path,) in query(only_file, "SELECT path FROM fields")} == {
        *("total", "odd.id", "odd.type", "odd.value"),
    }
