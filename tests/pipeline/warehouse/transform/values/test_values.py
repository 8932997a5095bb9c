from __future__ import annotations

import datetime as dt
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.warehouse.files import Place, land, problems, query
from fixtures.warehouse.runs import (
    INVOICE,
    document,
    evidence,
    extract_step,
    raw_lines,
    run,
)

FIRST, SECOND = document(1), document(2)


def land_value(file: Place, value: Any, **changes: Any) -> None:
    land(file, [FIRST], raw_lines(run(FIRST, steps=[extract_step(value, **changes)])))


def schema_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def test_declared_values_land_with_their_types(file: Place) -> None:
    land_value(file, INVOICE)
    rows = query(
        file,
        """SELECT invoice_number, invoice_date, paid, pages, status, vendor_name, vendor_address_city,
                  total_amount, total_iso_4217_currency_code, extras::VARCHAR FROM invoices""",
    )
    assert rows == [
        (
            "INV-1",
            dt.date(2026, 11, 21),
            True,
            2,
            "open",
            "Müller & Söhne",
            "Köln",
            Decimal("120.5"),
            "EUR",
            '{"any":[1,{"thing":true}]}',
        )
    ]
    assert query(file, "SELECT idx, value FROM invoices_tags ORDER BY idx") == [(0, "urgent"), (1, None)]
    assert query(file, "SELECT idx, description, amount FROM invoices_line_items ORDER BY idx") == [
        (0, "Paper", Decimal("100.25")),
        (1, None, Decimal("20.25")),
    ]
    assert query(
        file, "SELECT line_items_idx, idx, rate::DOUBLE FROM invoices_line_items_taxes ORDER BY ALL"
    ) == [
        (0, 0, 0.19),
        (0, 1, 0.07),
    ]
    assert problems(file) == []


@pytest.mark.parametrize("value", [{}, dict.fromkeys(INVOICE)], ids=["absent", "null"])
def test_declared_fields_without_a_value_have_their_columns_all_the_same(
    duckdb_first: Place, value: Any
) -> None:
    land_value(duckdb_first, value)
    ((row,),) = query(duckdb_first, "SELECT invoices FROM invoices")
    assert {name for name, content in row.items() if content is None} >= {
        "invoice_number",
        "total_amount",
        "vendor_address_city",
        "extras",
    }
    assert query(duckdb_first, "SELECT count(*) FROM invoices_line_items") == [(0,)]
    assert problems(duckdb_first) == []


MISFITS = [
    ("integer", "1.5"),
    ("integer", "yes"),
    ("integer", str(2**63)),
    ("integer", "0x1F"),
    ("number", "12,50"),
    ("number", "1_000"),
    ("number", "NaN"),
    ("number", "1e400"),
    ("number", "9" * 40),
    ("boolean", "yes"),
    ("boolean", "1"),
    ("date", "21.11.2026"),
    ("date", "2026-02-30"),
    ("date", "infinity"),
    ("date", "2026-11-21T10:00:00Z"),
]


def test_text_that_is_no_value_of_its_type_is_null_and_a_problem_that_keeps_it(file: Place) -> None:
    kinds = {
        **{kind: {"type": kind} for kind, _ in MISFITS},
        "date": {"type": "string", "extend:type": "date"},
    }
    names = [f"field_{number:02}" for number in range(len(MISFITS))]
    declared = {name: kinds[kind] for name, (kind, _) in zip(names, MISFITS, strict=True)}
    texts = {name: text for name, (_, text) in zip(names, MISFITS, strict=True)}
    land_value(file, {**texts, "other": "kept"}, schema=schema_of(**declared, other={"type": "string"}))
    assert query(file, f"SELECT {', '.join(names)}, other FROM invoices") == [(*[None] * len(names), "kept")]
    assert problems(file) == [("WRONG_TYPE", "invoices", name, name, text) for name, text in texts.items()]
    kept = dict(query(file, "SELECT path, value FROM fields WHERE path <> 'other'"))
    assert kept == texts


def land_numbers(file: Place, kind: str, *numbers: str) -> list[str]:
    """Land a field of this type for each number, as it is written; return the fields' names."""
    names = [f"field_{number}" for number in range(len(numbers))]
    schema = schema_of(**{name: {"type": kind} for name in names})
    (line,) = raw_lines(run(FIRST, steps=[extract_step({name: f"?{name}" for name in names}, schema=schema)]))
    for name, number in zip(names, numbers, strict=True):
        line = line.replace(f'"?{name}"'.encode(), number.encode())
    land(file, [FIRST], [line])
    return names


def test_money_keeps_every_digit(file: Place) -> None:
    exact = ["100.50", "-0.000000001", "12345678901234567890123456789.123456789", "1e3", '"12.50"']
    names = land_numbers(file, "number", *exact)
    (found,) = query(file, f"SELECT {', '.join(names)} FROM invoices")
    assert found == tuple(Decimal(number.strip('"')) for number in exact)
    assert problems(file) == []


def test_digits_beyond_the_ninth_are_a_problem_that_keeps_them(duckdb_first: Place) -> None:
    numbers = ["0.1234567891", "1.234567890123e2", "1e-12", "1e-400"]
    names = land_numbers(duckdb_first, "number", *numbers)
    told = [(row[0], row[2], float(row[4])) for row in problems(duckdb_first)]
    assert told == [("ROUNDED", name, float(number)) for name, number in zip(names, numbers, strict=True)]


def test_numbers_beyond_64_bits_are_kept_as_text(duckdb_first: Place) -> None:
    (name,) = land_numbers(duckdb_first, "integer", "123456789012345678901234567890")
    assert query(duckdb_first, f"SELECT {name} FROM invoices") == [(None,)]
    assert problems(duckdb_first)[0][4] == "123456789012345678901234567890"


def test_what_the_schema_does_not_know_is_a_problem_with_its_whole_value(duckdb_first: Place) -> None:
    value = {
        "surprise": {"a": [1, 2]},
        "vendor": {"name": "x", "vat id": "DE1"},
        "line_items": [{"sku": None}, {"amount": 1, "sku": "A1"}],
        "extras": {"anything": "goes"},
    }
    land_value(duckdb_first, value)
    assert problems(duckdb_first) == [
        ("UNKNOWN_FIELD", None, None, "line_items[0].sku", None),
        ("UNKNOWN_FIELD", None, None, "line_items[1].sku", "A1"),
        ("UNKNOWN_FIELD", None, None, "surprise", '{"a":[1,2]}'),
        ("UNKNOWN_FIELD", None, None, "vendor.vat id", "DE1"),
    ]
    assert ("vendor.vat id", "DE1") in query(duckdb_first, "SELECT path, value FROM fields")


def test_containers_where_none_belong_and_scalars_where_one_belongs_are_problems(duckdb_first: Place) -> None:
    value = {
        "invoice_number": {"no": 1},
        "vendor": "Acme",
        "tags": "urgent",
        "line_items": [5, {"amount": 1}],
    }
    land_value(duckdb_first, value)
    assert problems(duckdb_first) == [
        ("WRONG_TYPE", "invoices", "invoice_number", "invoice_number", '{"no":1}'),
        ("WRONG_TYPE", "invoices", None, "vendor", "Acme"),
        ("WRONG_TYPE", "invoices_line_items", None, "line_items[0]", "5"),
        ("WRONG_TYPE", "invoices_tags", None, "tags", "urgent"),
    ]
    assert query(duckdb_first, "SELECT idx, amount FROM invoices_line_items ORDER BY idx") == [
        (0, None),
        (1, 1),
    ]


AWKWARD_KEYS = [
    "a.b",
    'a"b',
    "a/b~c",
    "a\\b",
    "[0]",
    "$",
    "*",
    "#",
    "-",
    "0",
    "",
    "请求",
    "é\n",
    "n\0l",
    "A.B",
    "select",
]


def test_any_key_finds_its_column(file: Place) -> None:
    schema = schema_of(**{key: {"type": "string"} for key in AWKWARD_KEYS})
    land_value(file, {key: f"value of {number}" for number, key in enumerate(AWKWARD_KEYS)}, schema=schema)
    columns = dict(query(file, "SELECT source_path, column_name FROM dictionary WHERE column_name <> ''"))
    assert len(columns) == len(AWKWARD_KEYS)
    named = [columns[json.dumps([key], ensure_ascii=False)].replace('"', '""') for key in AWKWARD_KEYS]
    (landed,) = query(file, "SELECT " + ", ".join(f'"{column}"' for column in named) + " FROM invoices")
    assert landed == tuple(f"value of {number}" for number in range(len(AWKWARD_KEYS)))
    assert {code for code, *_ in problems(file)} - {"NUL_CHARACTER"} == {"NAME_CHANGED"}
    assert {path for (path,) in query(file, "SELECT path FROM fields")} >= {
        "a.b",
        'a"b',
        "a\\b",
        "请求",
        "[0]",
    }


def test_an_unknown_object_under_any_key_keeps_its_whole_value(duckdb_first: Place) -> None:
    land_value(
        duckdb_first, {key: {"of": key} for key in AWKWARD_KEYS}, schema=schema_of(known={"type": "string"})
    )
    values = [json.loads(row[4])["of"] for row in problems(duckdb_first) if row[0] == "UNKNOWN_FIELD"]
    assert sorted(values) == sorted(AWKWARD_KEYS)


def test_a_declared_type_is_checked_under_awkward_keys_too(duckdb_first: Place) -> None:
    items = {"type": "array", "items": schema_of(**{"unit price [0]": {"type": "number"}})}
    land_value(
        duckdb_first,
        {"line items": [{"unit price [0]": 1}, {"unit price [0]": "x"}]},
        schema=schema_of(**{"line items": items}),
    )
    rows = query(duckdb_first, "SELECT code, path, value FROM problems WHERE document_id IS NOT NULL")
    assert rows == [("WRONG_TYPE", "line items[1].unit price [0]", "x")]


def test_each_field_has_a_row_with_its_evidence(file: Place) -> None:
    about = evidence(random.Random(1))
    land_value(
        file,
        {"invoice_number": "INV-1", "line_items": [{"amount": 2}]},
        metadata={
            "invoice_number": about,
            "line_items[0].amount": {"ocrConfidence": 0.5},
            "line_items": {"ocrConfidence": None},
        },
    )
    rows = query(
        file,
        """SELECT path, value, ocr_confidence, logprobs_confidence, review_score, page, reference_text,
                  polygon::VARCHAR, citations, extractor FROM fields ORDER BY path""",
    )
    citation = about["citations"][0]
    polygon = json.dumps(citation["polygon"], separators=(",", ":"))
    assert rows == [
        (
            "invoice_number",
            "INV-1",
            about["ocrConfidence"],
            about["logprobsConfidence"],
            about["reviewAgentScore"],
            1,
            citation["referenceText"],
            polygon,
            1,
            "Invoices",
        ),
        ("line_items", None, None, None, None, None, None, None, None, "Invoices"),
        ("line_items[0].amount", "2", 0.5, None, None, None, None, None, None, "Invoices"),
    ]


def test_half_a_surrogate_pair_is_replaced_and_told_of_and_whole_ones_stay(file: Place) -> None:
    (line,) = raw_lines(run(FIRST, {"invoice_number": "?", "status": "😀", "vendor": {"name": "\\ud800"}}))
    land(file, [FIRST], [line.replace(b'"?"', rb'"a\ud83db"')])
    assert query(file, "SELECT invoice_number, status, vendor_name FROM invoices") == [
        ("a\ufffdb", "😀", "\\ud800")
    ]
    assert [row[0] for row in problems(file)] == ["REPLACED_CHARACTERS"]


def test_nul_is_a_character_like_others(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    land_value(file, {"invoice_number": "a\0b"})
    assert query(file, "SELECT invoice_number FROM invoices") == [("a\0b",)]
    assert problems(file) == []


def test_a_broken_byte_is_replaced_and_told_of(duckdb_first: Place) -> None:
    (line,) = raw_lines(run(FIRST, {"invoice_number": "?"}))
    land(duckdb_first, [FIRST], [line.replace(b'"?"', b'"a\xffb"')])
    assert query(duckdb_first, "SELECT invoice_number FROM invoices") == [("a\ufffdb",)]
    assert [row[0] for row in problems(duckdb_first)] == ["REPLACED_CHARACTERS"]


def test_a_value_of_ten_megabytes_lands(duckdb_first: Place) -> None:
    text = "lorem ipsum " * 900_000
    land_value(duckdb_first, {"invoice_number": text, "line_items": [{"description": text[:-1]}]})
    assert query(duckdb_first, "SELECT invoice_number = ? FROM invoices", [text]) == [(True,)]
    assert query(duckdb_first, "SELECT length(description) FROM invoices_line_items") == [(len(text) - 1,)]


def test_a_thousand_columns_land(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    keys = [f"field {number}" for number in range(1200)]
    schema = schema_of(**{key: {"type": "integer"} for key in keys})
    land_value(file, {key: number for number, key in enumerate(keys)}, schema=schema)
    ((row,),) = query(file, "SELECT invoices FROM invoices")
    assert [row[f"field_{number}"] for number in range(1200)] == list(range(1200))


def test_nesting_of_a_hundred_levels_lands(file: Place) -> None:
    schema: Any = {"type": "integer"}
    value: Any = 7
    for _ in range(100):
        schema, value = schema_of(a=schema), {"a": value}
    land_value(file, value, schema=schema)
    ((column,),) = query(file, "SELECT column_name FROM dictionary WHERE column_name <> ''")
    assert query(file, f'SELECT "{column}" FROM invoices') == [(7,)]


def test_values_without_a_schema_are_in_fields_and_told_of(duckdb_first: Place) -> None:
    land_value(duckdb_first, {"free": {"text": "x"}}, schema=None)
    assert query(duckdb_first, "SELECT path, value FROM fields") == [("free.text", "x")]
    assert [row[0] for row in problems(duckdb_first)] == ["NO_SCHEMA"]


json_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
invoices = st.fixed_dictionaries(
    {},
    optional={
        "invoice_number": st.none() | json_text,
        "invoice_date": st.none() | st.dates().map(str),
        "paid": st.none() | st.booleans(),
        "pages": st.none() | st.integers(-(2**63), 2**63 - 1),
        "vendor": st.none() | st.fixed_dictionaries({"name": st.none() | json_text}),
        "tags": st.none() | st.lists(st.none() | json_text, max_size=4),
    },
)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(invoices, min_size=20, max_size=20))
def test_whatever_the_values_are_they_can_be_read_back(
    tmp_path_factory: Any, values: list[dict[str, Any]]
) -> None:
    file = tmp_path_factory.mktemp("roundtrip") / "warehouse.duckdb"
    submission = [document(number) for number in range(len(values))]
    land(file, submission, raw_lines(*map(run, submission, values)))
    rows = query(
        file,
        """SELECT document_id, {
                      'invoice_number': invoice_number, 'invoice_date': invoice_date::VARCHAR, 'paid': paid,
                      'pages': pages, 'vendor': vendor_name,
                      'tags': (SELECT list(value ORDER BY idx) FROM invoices_tags AS tag
                               WHERE tag.document_id = invoices.document_id)}
           FROM invoices""",
    )
    landed = dict(rows)
    for each, value in zip(submission, values, strict=True):
        expected = {**dict.fromkeys(landed[each.id]), **value}
        expected["vendor"] = (expected["vendor"] or {}).get("name")
        expected["tags"] = expected["tags"] or None
        assert landed[each.id] == expected
    assert problems(file) == []
