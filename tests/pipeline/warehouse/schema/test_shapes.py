"""Whatever an extractor answers as its value lands: an object as a rule, but null, a text or a list, too."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.documents import Document
from fixtures.warehouse.files import Place, land, problems, query
from fixtures.warehouse.runs import INVOICE_SCHEMA, document, raw_lines, run, run_of_2025

FIRST = document(1)
VERSIONS = ("2026-02-09", "2025-04-21")
LONG = ["an item of a list that is long enough to be cut out of its line"] * 5


@pytest.fixture
def only_file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def answer(
    version: str, schema: Any = INVOICE_SCHEMA, *, of: Document = FIRST, **changes: Any
) -> list[bytes]:
    """Return a run in either API version, with what its extractor's run is to have instead."""
    if version == "2025-04-21":
        raw = {**run_of_2025(of), "id": f"workflow_run_{of.id}"}
        (step,) = raw["outputs"]
    else:
        raw = run(of)
        step = raw["stepRuns"][0]["result"]["extractRun"]
    step |= {"config": {} if schema is None else {"schema": schema}, **changes}
    step = {key: value for key, value in step.items() if value is not ...}
    if version == "2025-04-21":
        raw["outputs"] = [step]
    else:
        raw["stepRuns"][0]["result"]["extractRun"] = step
    return raw_lines(raw, api_version=version)


def answer_each(
    file: Place, version: str, changes: Iterable[dict[str, Any]], schema: Any = INVOICE_SCHEMA
) -> list[str]:
    """Land a document with each of the changes, all in one part; return the documents' ids."""
    documents, lines = [], []
    for number, each in enumerate(changes):
        documents.append(document(number))
        lines += answer(version, schema, of=documents[-1], **each)
    land(file, documents, lines)
    return [each.id for each in documents]


def rows_of(file: Place, document_id: str, select: str) -> list[tuple[Any, ...]]:
    return query(file, f"{select} WHERE document_id = ? ORDER BY ALL", [document_id])


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
def test_an_extraction_of_nothing_is_a_row_with_nulls(only_file: Path, version: str) -> None:
    ids = answer_each(only_file, version, [{"output": output} for output in NOTHING])
    for each, output in zip(ids, NOTHING, strict=True):
        ((row,),) = rows_of(only_file, each, "SELECT invoices FROM invoices")
        for name in ("invoice_number", "paid", "total_amount", "vendor_name", "extras"):
            assert row[name] is None, output
        said = [("invoice_number",)] if "invoice_number" in str(output) else []
        assert rows_of(only_file, each, "SELECT path FROM fields") == said, output
        assert rows_of(only_file, each, "SELECT result_idx FROM steps") == [(0,)], output
    for table in ("invoices_line_items", "invoices_tags"):
        assert query(only_file, f"SELECT count(*) FROM {table}") == [(0,)]
    assert problems(only_file) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_an_extraction_that_has_not_ended_well_has_no_row(only_file: Path, version: str) -> None:
    statuses = ("FAILED", "CANCELLED", "PROCESSING")
    answer_each(only_file, version, [{"output": None, "status": status} for status in statuses])
    assert query(only_file, "SELECT result_idx FROM steps") == [(None,)] * len(statuses)
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


LISTS: list[tuple[Any, list[str]]] = [
    (["a", "b"], ["[0]", "[1]"]),
    ([], []),
    (LONG, [f"[{number}]" for number in range(len(LONG))]),
    ([{"a": 1}, [2]], ["[0].a", "[1][0]"]),
]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_declared_list_is_the_column_value(only_file: Path, version: str) -> None:
    outputs = [{"output": {"value": value, "metadata": {}}} for value, _ in LISTS]
    ids = answer_each(only_file, version, outputs, {"type": "array", "items": {}})
    for each, (value, paths) in zip(ids, LISTS, strict=True):
        ((landed,),) = rows_of(only_file, each, "SELECT value::VARCHAR FROM invoices")
        assert json.loads(landed) == value
        assert rows_of(only_file, each, "SELECT path FROM fields") == [(path,) for path in paths]
    assert query(only_file, "SELECT type FROM dictionary WHERE column_name = 'value'") == [("JSON",)]
    assert problems(only_file) == []


@pytest.mark.parametrize(
    ("version", "spelling"), zip(itertools.cycle(VERSIONS), ["[1].a", "1.a", "$[1].a", ".1.a"])
)
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


def test_a_value_that_is_not_the_declared_object_is_kept_as_every_misfit(file: Place) -> None:
    outputs = [{"output": {"value": value, "metadata": {}}} for value, _, _ in MISFITS]
    ids = answer_each(file, "2026-02-09", outputs)
    for each, (_, whole, fields) in zip(ids, MISFITS, strict=True):
        assert rows_of(file, each, "SELECT invoice_number, paid FROM invoices") == [(None, None)]
        told = rows_of(file, each, "SELECT code, table_name, column_name, path, value FROM problems")
        assert ("WRONG_TYPE", "invoices", None, "", whole) in told
        assert rows_of(file, each, "SELECT path, value FROM fields") == fields


OF_NO_KNOWN_SHAPE: list[Any] = ["all of it", ["a"], {"invoice_number": "INV-1"}, {"odd": {"x": 1}}]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_output_of_no_known_shape_is_the_value(only_file: Path, version: str) -> None:
    ids = answer_each(only_file, version, [{"output": output} for output in OF_NO_KNOWN_SHAPE])
    for each, output in zip(ids, OF_NO_KNOWN_SHAPE, strict=True):
        assert rows_of(only_file, each, "SELECT count(*) FROM invoices") == [(1,)]
        assert rows_of(only_file, each, "SELECT count(*) FROM fields") == [(1,)]
        ((told,),) = rows_of(only_file, each, "SELECT count(*) FROM problems")
        assert bool(told) is (output != {"invoice_number": "INV-1"})


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
def test_a_value_with_the_names_of_a_field_is_no_flat_map(only_file: Path, version: str) -> None:
    cases: list[tuple[str | int, Any]] = list(itertools.product(["invoice", 3], [{}, {"newer": {"a": 1}}]))
    outputs = [
        {"value": {"id": "i", "type": kind, "value": "x"}, "metadata": {"id": {"ocrConfidence": 0.5}}, **more}
        for kind, more in cases
    ]
    ids = answer_each(only_file, version, [{"output": output} for output in outputs], None)
    for each, (kind, _) in zip(ids, cases, strict=True):
        assert rows_of(only_file, each, "SELECT path, value, ocr_confidence FROM fields") == [
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
