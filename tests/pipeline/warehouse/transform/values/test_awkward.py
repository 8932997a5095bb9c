"""Keys and values that break loaders elsewhere: each is found again by way of the dictionary alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fixtures.warehouse.files import Place, land, query
from fixtures.warehouse.runs import document, extract_step, raw_lines, run

AWKWARD = [
    *("select", "SELECT", "order", "group", "user", "window", "qualify", "asof"),
    *("Total", "total", "TOTAL", "toTal", "to_tal", "to tal", "to-tal", "total_", "_total"),
    *("请求", "請求", "запрос", "طلب", "αίτημα", "Betrag (€)", "Betrag ($)", "Größe", "GRÖSSE", "groesse"),
    *("İ", "i̇", "ı", "ß", "ss", "ﬁ", "fi", "Å", "Å", "A\u030a"),
    *("document_id", "workflow_id", "run_id", "result_idx", "file_id", "idx", "value", "field"),
    *("n" * 62, "n" * 63, "n" * 64, "n" * 200 + "a", "n" * 200 + "b", "日" * 21, "日" * 22, "日" * 40),
    *(
        "",
        " ",
        "_",
        "__",
        ".",
        "*",
        "$",
        "a.b",
        "a[0]",
        "a]",
        'a"b',
        "a'b",
        "a\\b",
        "a\\",
        "a/b",
        "a~b",
        "a~1b",
    ),
    *(
        "1st",
        "1",
        "01",
        "🙂",
        "🙂🙂",
        "a\tb",
        "a\nb",
        "a\rb",
        "a\x1fb",
        "; DROP TABLE documents --",
        "?",
        "%s",
        "{x}",
    ),
    *("text", "int", "null", "true", "total__text", "x__number", "dead_letters", "loads"),
]


def test_every_key_has_a_column_of_its_own_that_leads_back_to_it(file: Place) -> None:
    keys = list(dict.fromkeys(AWKWARD))
    item: dict[str, Any] = {"type": "object", "properties": {key: {"type": "string"} for key in keys}}
    schema = {
        "type": "object",
        "properties": {**item["properties"], "The List": {"type": "array", "items": item}},
    }
    value = {key: f"value of {number}" for number, key in enumerate(keys)}
    items = [{key: f"{text}, item {number}" for key, text in value.items()} for number in range(2)]
    step = extract_step({**value, "The List": items}, schema=schema)
    land(file, [document()], raw_lines(run(document(), steps=[step])))

    dictionary = query(
        file, "SELECT table_name, column_name, source_path FROM dictionary WHERE column_name <> ''"
    )
    assert len({(table, column.casefold()) for table, column, _ in dictionary}) == 2 * len(keys)
    assert all(len(column.encode()) <= 63 for _, column, _ in dictionary)
    found: dict[tuple[str | None, ...], list[Any]] = {}
    for table, order in (("invoices", "run_id"), ("invoices_the_list", "idx")):
        columns = {column: tuple(json.loads(path)) for name, column, path in dictionary if name == table}
        quoted = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
        rows = query(file, f'SELECT {quoted} FROM {table} ORDER BY "{order}"')
        found |= {path: [row[place] for row in rows] for place, path in enumerate(columns.values())}
    expected: dict[tuple[str | None, ...], list[Any]] = {(key,): [text] for key, text in value.items()}
    expected |= {("The List", None, key): [each[key] for each in items] for key in keys}
    assert found == expected
    unexpected = query(file, "SELECT DISTINCT code FROM problems WHERE code <> 'NAME_CHANGED'")
    assert unexpected == []


def test_a_second_schema_with_other_spellings_takes_no_column_away(file: Place) -> None:
    spellings = ["Total", "total", "TOTAL", "to tal"]
    for number, key in enumerate(spellings):
        schema = {"type": "object", "properties": {key: {"type": "integer"}}}
        each = document(number)
        land(file, [each], raw_lines(run(each, steps=[extract_step({key: number}, schema=schema)])))
    named: dict[str, str] = dict(
        query(file, "SELECT source_path, column_name FROM dictionary WHERE column_name <> ''")
    )
    for number, key in enumerate(spellings):
        column = named[json.dumps([key])]
        assert query(file, f'SELECT "{column}" FROM invoices WHERE "{column}" IS NOT NULL') == [(number,)]


TEXTS = [
    "a\0b",
    "\0",
    "\ufffd",
    "\u2028",
    "\x1f",
    "\x7f",
    "\\u0000",
    "x" * 10_000_000,
    "🙂" * 10,
    "\r\n\t",
    "NULL",
    "",
]


@pytest.mark.parametrize("new_place", ["duckdb"], indirect=True)
def test_every_text_lands_as_it_is(file: Place) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    documents = [document(number) for number in range(len(TEXTS))]
    steps = [extract_step({"a": text}, schema=schema) for text in TEXTS]
    runs = [run(each, steps=[step]) for each, step in zip(documents, steps, strict=True)]
    land(file, documents, raw_lines(*runs))
    wanted = {each.id: text for each, text in zip(documents, TEXTS, strict=True)}
    assert dict(query(file, "SELECT document_id, a FROM invoices")) == wanted
    assert dict(query(file, "SELECT document_id, value FROM fields")) == wanted


@pytest.mark.parametrize("new_place", ["duckdb"], indirect=True)
def test_a_document_of_awkward_numbers_keeps_them_all(file: Place) -> None:
    numbers = ["9223372036854775807", "9223372036854775808", "1" * 60, "1e308", "1e400", "-0", "0.1e-30"]
    schema = {"type": "object", "properties": {f"n{n}": {"type": "number"} for n in range(len(numbers))}}
    line = raw_lines(run(document(), steps=[extract_step({}, schema=schema)]))[0]
    value = ", ".join(f'"n{n}": {number}' for n, number in enumerate(numbers))
    land(file, [document()], [line.replace(b'"value": {}', f'"value": {{{value}}}'.encode())])
    assert query(file, "SELECT n0::VARCHAR, n1::VARCHAR, n2 FROM invoices") == [
        ("9223372036854775807.000000000", "9223372036854775808.000000000", None)
    ]
    kept: dict[str, str] = dict(
        query(file, "SELECT path, value FROM problems WHERE code IN ('WRONG_TYPE', 'ROUNDED')")
    )
    assert kept.keys() == {"n2", "n3", "n4", "n6"}
    assert kept["n2"] == "1" * 60
    assert float(kept["n3"]) == 1e308
    assert kept["n4"].lower().replace("+", "") == "1e400"
