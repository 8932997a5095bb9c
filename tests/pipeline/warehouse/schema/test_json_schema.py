from __future__ import annotations

from typing import Any

import pytest

from extend_pipeline.warehouse.schema.dictionary import Dictionary, Extractor, position_columns
from extend_pipeline.warehouse.schema.json_schema import schema_tables
from extend_pipeline.warehouse.schema.names import Path
from extend_pipeline.warehouse.sql import ColumnType
from fixtures.warehouse.runs import INVOICE_SCHEMA

T = ColumnType


def columns_of(schema: dict[str, Any]) -> dict[Path, dict[Path, ColumnType]]:
    return {table.path: {c.path: c.type for c in table.columns} for table in schema_tables(schema)}


def test_objects_become_columns_and_lists_become_tables_down_to_any_depth() -> None:
    assert columns_of(INVOICE_SCHEMA) == {
        (): {
            ("invoice_number",): T.TEXT,
            ("invoice_date",): T.DATE,
            ("paid",): T.BOOLEAN,
            ("pages",): T.INTEGER,
            ("status",): T.TEXT,
            ("vendor", "name"): T.TEXT,
            ("vendor", "address", "city"): T.TEXT,
            ("total", "amount"): T.DECIMAL,
            ("total", "iso_4217_currency_code"): T.TEXT,
            ("extras",): T.JSON,
        },
        ("tags", None): {("tags", None): T.TEXT},
        ("line_items", None): {
            ("line_items", None, "description"): T.TEXT,
            ("line_items", None, "amount"): T.DECIMAL,
        },
        ("line_items", None, "taxes", None): {("line_items", None, "taxes", None, "rate"): T.DECIMAL},
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"type": "string"}, T.TEXT, id="string"),
        pytest.param({"type": ["null", "number"]}, T.DECIMAL, id="number or null"),
        pytest.param({"type": ["integer", "number"]}, T.DECIMAL, id="integer or number"),
        pytest.param({"type": ["string", "number"]}, T.TEXT, id="string or number"),
        pytest.param({"type": "string", "extend:type": "date"}, T.DATE, id="extend date"),
        pytest.param({"extend:type": "date"}, T.DATE, id="extend date without a type"),
        pytest.param({"type": "string", "format": "date-time"}, T.TIMESTAMP, id="date-time"),
        pytest.param({"enum": ["a", "b", None]}, T.TEXT, id="enum of words"),
        pytest.param({"enum": [1, 2]}, T.INTEGER, id="enum of integers"),
        pytest.param({"const": True}, T.BOOLEAN, id="const"),
        pytest.param({"anyOf": [{"type": "integer"}, {"type": "null"}]}, T.INTEGER, id="anyOf with null"),
        pytest.param({"anyOf": [{"type": "integer"}, {"type": "string"}]}, T.JSON, id="anyOf of two"),
        pytest.param({"$ref": "#/$defs/day"}, T.DATE, id="reference"),
        pytest.param({"$ref": "#/$defs/nowhere"}, T.JSON, id="reference to nowhere"),
        pytest.param({"type": "object"}, T.JSON, id="object without properties"),
        pytest.param({"type": ["object", "string"]}, T.JSON, id="object or string"),
        pytest.param({"type": "geometry"}, T.JSON, id="unknown type"),
        pytest.param({}, T.JSON, id="no schema"),
        pytest.param(True, T.JSON, id="anything"),
        pytest.param({"type": "null"}, T.JSON, id="null only"),
    ],
)
def test_a_declaration_decides_the_columns_type(schema: Any, expected: ColumnType) -> None:
    root = {
        "type": "object",
        "properties": {"field": schema},
        "$defs": {"day": {"type": "string", "extend:type": "date"}},
    }
    assert columns_of(root) == {(): {("field",): expected}}


def test_a_currency_has_its_two_columns_even_where_the_schema_does_not_spell_them_out() -> None:
    schema = {"type": "object", "properties": {"total": {"type": "object", "extend:type": "currency"}}}
    assert columns_of(schema)[()] == {
        ("total", "amount"): T.DECIMAL,
        ("total", "iso_4217_currency_code"): T.TEXT,
    }


def test_a_signature_has_its_four_columns_even_where_the_schema_does_not_spell_them_out() -> None:
    schema = {"type": "object", "properties": {"signed": {"extend:type": "signature"}}}
    assert columns_of(schema)[()] == {
        ("signed", "printed_name"): T.TEXT,
        ("signed", "signature_date"): T.DATE,
        ("signed", "is_signed"): T.BOOLEAN,
        ("signed", "title_or_role"): T.TEXT,
    }


def test_a_list_of_lists_is_a_table_of_json_values() -> None:
    schema = {
        "type": "object",
        "properties": {"grid": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}},
    }
    assert columns_of(schema) == {(): {}, ("grid", None): {("grid", None): T.JSON}}


def test_a_schema_that_contains_itself_ends_in_a_json_column() -> None:
    part = {"type": "object", "properties": {"name": {"type": "string"}, "parts": {"$ref": "#/$defs/part"}}}
    schema = {"type": "object", "properties": {"machine": {"$ref": "#/$defs/part"}}, "$defs": {"part": part}}
    assert columns_of(schema) == {(): {("machine", "name"): T.TEXT, ("machine", "parts"): T.JSON}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), ()),
        (("items", None), ("idx",)),
        (("invoice", "items", None, "taxes", None), ("invoice_items_idx", "idx")),
        (("a", None, "b", None, "c", None), ("a_idx", "b_idx", "idx")),
    ],
)
def test_a_lists_table_has_a_position_for_every_list_around_it(path: Path, expected: tuple[str, ...]) -> None:
    assert position_columns(path) == expected


def test_lists_of_one_name_inside_each_other_have_positions_of_their_own() -> None:
    assert len(set(position_columns(("a", None, "a", None, "a", None)))) == 3


def test_a_field_called_like_a_key_column_gets_a_name_of_its_own() -> None:
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"document_id": text, "run_id": text}}
    dictionary = Dictionary([])
    (table,) = dictionary.tables_of(Extractor("Letters", schema))
    assert not {"document_id", "run_id"} & {column.name for column in table.columns}
    assert [problem[0] for problem in dictionary.problems] == ["NAME_CHANGED", "NAME_CHANGED"]


def test_an_extractor_called_like_a_table_of_ours_gets_a_table_of_its_own() -> None:
    (table,) = Dictionary([]).tables_of(Extractor("Documents", {"type": "object", "properties": {}}))
    assert table.name.startswith("documents_")


def test_an_extractor_keeps_its_table_and_names_that_would_share_one_get_two() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    dictionary = Dictionary([])
    first, second, again = (
        dictionary.tables_of(Extractor(name, schema))[0].name for name in ("Invoices", "INVOICES", "Invoices")
    )
    assert first == again == "invoices"
    assert second.startswith("invoices_")
