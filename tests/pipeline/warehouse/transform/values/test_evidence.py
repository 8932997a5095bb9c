"""Extend's evidence finds its field however its key is spelled; what finds none is told of."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.records import LandingPolicy
from fixtures.extend.api import ExtendApi
from fixtures.warehouse.files import Place, document_problems, land, provenance, query, warehouse
from fixtures.warehouse.runs import (
    INVOICE,
    INVOICE_SCHEMA,
    document,
    extract_step,
    raw_lines,
    run,
    run_of_2025,
)
from sandbox.documents import generate

FIRST = document(1)
VERSIONS = ("2026-02-09", "2025-04-21")


@pytest.fixture
def only_file(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


def lines(
    version: str, output: Any, schema: Any = INVOICE_SCHEMA, *, of: Document = FIRST, **changes: Any
) -> list[bytes]:
    """Return a run with this output of its extractor, in either API version."""
    if version == "2025-04-21":
        raw = {**run_of_2025(of), "id": f"workflow_run_{of.id}"}
        (step,) = raw["outputs"]
        step["config"] = {"type": "EXTRACT", "schema": schema}
    else:
        raw = run(of)
        step = raw["stepRuns"][0]["result"]["extractRun"]
        step["config"] = {"schema": schema}
    step |= {"output": output, **changes}
    return raw_lines(raw, api_version=version)


def told(version: str, file: Place, value: Any, metadata: Any, schema: Any = INVOICE_SCHEMA) -> None:
    land(file, [FIRST], lines(version, {"value": value, "metadata": metadata}, schema))


def told_each(
    version: str,
    file: Place,
    value: Any,
    metadata: Sequence[Any],
    schema: Any = INVOICE_SCHEMA,
    *,
    first: int = 0,
) -> list[str]:
    """Land a document with each metadata, all in one part; return the documents' ids.

    :param first: the number of the first document.
    """
    documents = [document(first + number) for number in range(len(metadata))]
    outputs = [{"value": value, "metadata": each} for each in metadata]
    runs = [lines(version, output, schema, of=of) for of, output in zip(documents, outputs, strict=True)]
    land(file, documents, [line for each in runs for line in each], origin=provenance(raw_uri=f"raw/{first}"))
    return [each.id for each in documents]


def by_document(file: Place, select: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of each document; ``select`` begins with its id."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for each, *row in query(file, f"{select} ORDER BY ALL"):
        found.setdefault(each, []).append(tuple(row))
    return found


def confidences(file: Place) -> dict[str, float]:
    """Return the confidence of each field that has one; no field has two rows."""
    rows = query(file, "SELECT path, ocr_confidence FROM fields WHERE ocr_confidence IS NOT NULL")
    assert len({path for path, _ in rows}) == len(rows)
    return dict(rows)


SPELLINGS = {
    "line_items[0].amount": "line_items[0].amount",
    "line_items.0.amount": "line_items[0].amount",
    "line_items.1.taxes[0].rate": "line_items[1].taxes[0].rate",
    "line_items[1].taxes.0.rate": "line_items[1].taxes[0].rate",
    "line_items.1.taxes.0.rate": "line_items[1].taxes[0].rate",
    "line_items[1]['taxes'][0][\"rate\"]": "line_items[1].taxes[0].rate",
    "$.line_items[0].amount": "line_items[0].amount",
    "/line_items/0/amount": "line_items[0].amount",
    "tags.0": "tags[0]",
    "tags[0]": "tags[0]",
    "grid.1.0": "grid[1][0]",
    "grid[1][0]": "grid[1][0]",
    "grid[1].0": "grid[1][0]",
    "a.b": "a.b",
    '["a.b"]': "a.b",
    "a\\.b": "a.b",
    "vendor.vat [no.]": "vendor.vat [no.]",
    'vendor["vat [no.]"]': "vendor.vat [no.]",
    "unit price [0].1.x": "unit price [0][1].x",
    "unit price [0][1].x": "unit price [0][1].x",
    "2024.total": "2024.total",
    'quoted "name".0': 'quoted "name"[0]',
    "line_items": "line_items",
    "line_items.0": "line_items[0]",
}
VALUE = {
    "line_items": [{"amount": 1}, {"amount": 2, "taxes": [{"rate": 0.19}]}],
    "tags": ["x"],
    "grid": [[1, 2], [3, 4]],
    "a.b": "dotted",
    "vendor": {"vat [no.]": "DE1"},
    "unit price [0]": [{"x": 1}, {"x": 2}],
    "2024": {"total": 1},
    'quoted "name"': ["q"],
}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_spelling_of_a_key_leads_to_its_field(only_file: Path, version: str) -> None:
    # A part has one key for each place, so that none competes with another.
    parts: list[dict[str, str]] = []
    for key, path in SPELLINGS.items():
        free = next((part for part in parts if path not in part.values()), None)
        if free is None:
            parts.append(free := {})
        free[key] = path
    for number, part in enumerate(parts):
        metadata = [{key: {"ocrConfidence": 0.25}} for key in part]
        ids = told_each(version, only_file, VALUE, metadata, schema=None, first=100 * number)
        fields = by_document(only_file, "SELECT document_id, path, value, ocr_confidence FROM fields")
        for each, (key, path) in zip(ids, part.items(), strict=True):
            assert [row[::2] for row in fields[each] if row[2] is not None] == [(path, 0.25)], key
            (value,) = (value for at, value, _ in fields[each] if at == path)
            assert (value is None) is (path in ("line_items", "line_items[0]")), key
    assert document_problems(only_file) == []


@pytest.mark.parametrize("spelling", ["line_items[1].amount", "line_items.1.amount"])
def test_every_warehouse_has_them_at_the_field(file: Place, spelling: str) -> None:
    metadata = {spelling: {"ocrConfidence": 0.25, "citations": [{"page": {"number": 3}}]}, "no.such": {}}
    told("2026-02-09", file, INVOICE, metadata)
    found = "SELECT value, ocr_confidence, page FROM fields WHERE path = 'line_items[1].amount'"
    assert query(file, found) == [("20.25", 0.25, 3)]
    assert document_problems(file) == [("EVIDENCE_WITHOUT_FIELD", "no.such", "{}")]


@pytest.mark.parametrize("version", VERSIONS)
def test_evidence_that_leads_nowhere_is_told_of_and_counts(only_file: Path, version: str) -> None:
    metadata = {
        "lineItems[0].amount": {"ocrConfidence": 0.1},
        "line_items[2].amount": {"ocrConfidence": 0.2},
        "line_items.7.taxes": {"ocrConfidence": 0.3},
        "extras.other": {"ocrConfidence": 0.4},
        "~/odd": {"ocrConfidence": 0.5},
        "invoice_number": {"ocrConfidence": 0.99},
    }
    with warehouse(only_file) as opened:
        opened.land(
            [FIRST],
            lines(version, {"value": INVOICE, "metadata": metadata}),
            provenance=provenance(),
            policy=LandingPolicy(0.8, hold=True),
        )
    assert document_problems(only_file) == [
        ("EVIDENCE_WITHOUT_FIELD", key, json.dumps(about, separators=(",", ":")))
        for key, about in sorted(metadata.items())
        if key != "invoice_number"
    ]
    assert confidences(only_file) == {key: about["ocrConfidence"] for key, about in metadata.items()}
    judged = "SELECT lowest_confidence, low_confidence, approval FROM documents"
    assert query(only_file, judged) == [(0.1, 5, "WAITING")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_declared_field_without_a_value_is_a_field(only_file: Path, version: str) -> None:
    value = {"line_items": [{"amount": 1}, {"amount": 2}]}
    paths = ["invoice_number", "line_items[1].description", "tags", "total", "vendor.address.city"]
    dotted = [re.sub(r"\[(\d+)\]", r".\1", path) for path in paths]
    metadata = [{key: {"ocrConfidence": 0.5} for key in keys} for keys in (paths, dotted)]
    ids = told_each(version, only_file, value, metadata)
    found = "SELECT document_id, path, ocr_confidence FROM fields WHERE ocr_confidence IS NOT NULL"
    assert by_document(only_file, found) == {each: [(path, 0.5) for path in paths] for each in ids}
    assert document_problems(only_file) == []


@pytest.mark.parametrize("item", [{"description": "x"}, {}], ids=["with a value", "without one"])
def test_of_two_keys_for_a_field_the_better_spelled_one_has_it(only_file: Path, item: Any) -> None:
    metadata = {
        "line_items.0.description": {"ocrConfidence": 0.1},
        "line_items[0].description": {"ocrConfidence": 0.9},
    }
    told("2026-02-09", only_file, {"line_items": [item]}, metadata)
    assert confidences(only_file) == {"line_items[0].description": 0.9, "line_items.0.description": 0.1}
    assert [row[:2] for row in document_problems(only_file)] == [
        ("EVIDENCE_WITHOUT_FIELD", "line_items.0.description")
    ]
    assert query(only_file, "SELECT lowest_confidence FROM documents") == [(0.1,)]


def test_a_key_that_can_mean_two_fields_is_told_of(only_file: Path) -> None:
    value = {"a.b": "flat", "a": {"b": "nested"}}
    told("2026-02-09", only_file, value, {"a.b": {"ocrConfidence": 0.5}}, schema=None)
    assert [row[:2] for row in document_problems(only_file)] == [("AMBIGUOUS_EVIDENCE", "a.b")]
    assert query(only_file, "SELECT count(*), count(ocr_confidence) FROM fields") == [(2, 1)]


def test_names_that_look_like_positions_keep_their_own(only_file: Path) -> None:
    value = {"a[0]b": "awkward", "a": [{"b": "item"}]}
    metadata = {"a[0]b": {"ocrConfidence": 0.25}, "a.0.b": {"ocrConfidence": 0.5}}
    told("2026-02-09", only_file, value, metadata, schema=None)
    rows = query(only_file, "SELECT value, ocr_confidence FROM fields ORDER BY ALL")
    assert rows == [("awkward", 0.25), ("item", 0.5)]
    assert document_problems(only_file) == []


def test_documents_of_one_part_may_spell_and_be_shaped_otherwise(only_file: Path) -> None:
    """A key is asked of its own document where the part has several places for it."""
    values = [{"a": ["list"]}, {"a": {"0": "object"}}, {"a.0": "flat"}, {"a[0]": "awkward"}, {"a": ["list"]}]
    keys = ["a.0", "a.0", "a.0", "a[0]", "a[0]"]
    documents = [document(number) for number in range(len(values))]
    runs = [
        run(each, steps=[extract_step(value, schema=None, metadata={key: {"ocrConfidence": 0.5}})])
        for each, value, key in zip(documents, values, keys, strict=True)
    ]
    land(only_file, documents, raw_lines(*runs))
    rows = query(only_file, "SELECT value, ocr_confidence FROM fields ORDER BY ALL")
    assert rows == [("awkward", 0.5), ("flat", 0.5), ("list", 0.5), ("list", 0.5), ("object", 0.5)]
    assert document_problems(only_file) == []


def test_metadata_with_a_key_twice_is_told_of(only_file: Path) -> None:
    about = {"ocrConfidence": 0.5, "citations": [{"page": {"number": 1}, "referenceText": "x" * 100}]}
    (line,) = lines("2026-02-09", {"value": INVOICE, "metadata": {"paid": about, "?": about}})
    land(only_file, [FIRST], [line.replace(b'"?"', b'"paid"')])
    whole = json.dumps({"paid": about, "?": about}).replace("?", "paid")
    assert document_problems(only_file) == [("UNREADABLE_EVIDENCE", None, whole)]
    assert query(only_file, "SELECT count(*) FROM fields WHERE path IS NULL") == [(0,)]


@pytest.mark.parametrize("key", ["line_items[1].amount", "line_items.1.amount"])
def test_what_a_reviewer_has_taken_out_keeps_its_evidence(only_file: Path, key: str) -> None:
    value = {"line_items": [{"amount": 1}]}
    initial = {"line_items": [{"amount": 1}, {"amount": 2}]}
    output = {"value": value, "metadata": {key: {"ocrConfidence": 0.5}}}
    reviewed: dict[str, Any] = {"reviewed": True, "edited": True, "initialOutput": {"value": initial}}
    land(only_file, [FIRST], lines("2026-02-09", output, **reviewed))
    rows = query(only_file, "SELECT path, value, machine_value, ocr_confidence FROM fields WHERE edited")
    assert rows == [("line_items[1].amount", None, "2", 0.5)]
    assert document_problems(only_file) == []


UNREADABLE: list[Any] = [
    0.9,
    "sure",
    [],
    [{"ocrConfidence": 0.9}],
    {"ocrConfidence": "high"},
    {"ocrConfidence": {"score": 0.9}},
    {"logprobsConfidence": 93},
    {"ocrConfidence": -0.1},
    {"ocrConfidence": True},
    {"reviewAgentScore": "five"},
    {"confidence": 0.2},
    {"ocr_confidence": 0.2},
    {"amount": {"ocrConfidence": 0.2}},
    {"ocrConfidence": 0.9, "citations": {"page": 1}},
    {"ocrConfidence": 0.9, "citations": [{"page": "p. 3"}]},
    {"citations": [{"page": {"number": [1]}}]},
]


@pytest.mark.parametrize("version", VERSIONS)
def test_evidence_of_another_shape_is_told_of_with_all_that_it_says(only_file: Path, version: str) -> None:
    metadata = [{"invoice_number": about, "paid": {"ocrConfidence": 0.5}} for about in UNREADABLE]
    ids = told_each(version, only_file, INVOICE, metadata)
    found = by_document(only_file, "SELECT document_id, code, path, value FROM problems")
    paid = by_document(only_file, "SELECT document_id, ocr_confidence FROM fields WHERE path = 'paid'")
    for each, about in zip(ids, UNREADABLE, strict=True):
        ((code, path, whole),) = found[each]
        assert (code, path) == ("UNREADABLE_EVIDENCE", "invoice_number")
        if '"page"' not in whole:  # which is brought to one shape
            assert json.loads(whole) == about
        assert paid[each] == [(0.5,)]


READABLE: list[Any] = [
    {},
    None,
    {"ocrConfidence": None, "logprobsConfidence": None, "reviewAgentScore": None, "citations": None},
    {"ocrConfidence": 0, "logprobsConfidence": 1},
    {"insights": [{"type": "reasoning", "content": "because"}]},
    {"citations": []},
    {"citations": [None]},
    {"citations": [{"referenceText": "no page"}]},
    {"citations": [{"page": None, "polygon": None}]},
    {"citations": [{"page": {"number": None}}]},
    {"citations": [{"page": {}}]},
    {"ocrConfidence": 0.5, "newer": "word"},
]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_says_less_or_more_than_usual_is_no_problem(only_file: Path, version: str) -> None:
    metadata = [{"invoice_number": about, "paid": {"ocrConfidence": 0.5}} for about in READABLE]
    ids = told_each(version, only_file, INVOICE, metadata)
    assert document_problems(only_file) == []
    counted = "SELECT document_id, count(*) FROM fields WHERE path = 'invoice_number' GROUP BY ALL"
    assert by_document(only_file, counted) == {each: [(1,)] for each in ids}


@pytest.mark.parametrize("version", VERSIONS)
def test_numbers_as_text_are_numbers(only_file: Path, version: str) -> None:
    cited = [page if version == "2025-04-21" else {"number": page} for page in (3, "3", 3.0)]
    metadata = [
        {"paid": {"ocrConfidence": "0.5", "reviewAgentScore": "4", "citations": [{"page": page}]}}
        for page in cited
    ]
    ids = told_each(version, only_file, INVOICE, metadata)
    found = "SELECT document_id, ocr_confidence, review_score, page FROM fields WHERE path = 'paid'"
    assert by_document(only_file, found) == {each: [(0.5, 4, 3)] for each in ids}
    assert document_problems(only_file) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_metadata_that_is_no_map_is_told_of(only_file: Path, version: str) -> None:
    metadata: list[Any] = [[{"ocrConfidence": 0.9}], "none", 5]
    ids = told_each(version, only_file, INVOICE, metadata)
    wanted = [("UNREADABLE_EVIDENCE", "", json.dumps(each, separators=(",", ":"))) for each in metadata]
    found = by_document(only_file, "SELECT document_id, code, path, value FROM problems")
    assert found == {each: [row] for each, row in zip(ids, wanted, strict=True)}


# as the emulator spells it

STATEMENT = next(
    sample
    for sample in generate([dt.date(2026, 11, 19)], per_day=60, seed=4)
    if "statement" in sample.key and sample.key.endswith(".csv")
)


def emulated(api: ExtendApi, version: str, content: bytes) -> dict[str, Any]:
    """Return the run of a bank statement, as this API version has it."""
    upload = api.call("POST", "/files/upload", files={"file": ("statement.csv", content)}).json()
    inputs = [{"file": {"id": upload["id"]}, "metadata": {"document_id": FIRST.id}}]
    (read,) = api.runs(api.submit_batch(inputs, "workflow_statements"))
    answer = api.call("GET", f"/workflow_runs/{read['id']}", version=version).json()
    return dict(answer.get("workflowRun", answer))


@pytest.mark.parametrize("version", VERSIONS)
def test_either_spelling_of_the_emulator_ends_in_the_same_rows(
    extend_api: ExtendApi, only_file: Path, version: str
) -> None:
    rows = {}
    for keys, spelled in (
        ("brackets", "transactions[0].date"),
        ("dots", "transactions.0.date"),
    ):
        extend_api.configure(metadata_keys=keys)
        raw = emulated(extend_api, version, STATEMENT.data)
        assert spelled in json.dumps(raw)
        file = only_file.with_name(f"{keys}.duckdb")
        land(file, [FIRST], raw_lines(raw, api_version=version))
        columns = "path, value, logprobs_confidence, page, reference_text, citations"
        rows[keys] = query(file, f"SELECT {columns} FROM fields ORDER BY path")
        assert document_problems(file) == []
    assert rows["brackets"] == rows["dots"]
    assert STATEMENT.truth.value is not None
    described = {row["description"] for row in STATEMENT.truth.value["transactions"]}
    found = {value for path, value, sure, *_ in rows["dots"] if "description" in path and sure}
    assert found == described


@pytest.mark.parametrize("version", VERSIONS)
def test_a_document_without_a_single_value_is_a_row_with_nulls(
    extend_api: ExtendApi, only_file: Path, version: str
) -> None:
    extend_api.configure(nothing_found="null")
    raw = emulated(extend_api, version, b'"nothing","at all"')
    land(only_file, [FIRST], raw_lines(raw, api_version=version))
    assert query(only_file, "SELECT count(*) FROM bank_statement") == [(1,)]
    assert query(only_file, "SELECT count(*) FROM fields") == [(0,)]
    assert document_problems(only_file) == []
