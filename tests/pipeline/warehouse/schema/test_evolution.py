from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extend_pipeline.warehouse.records import LandingPolicy, Provenance, SchemaContract, SchemaContractError
from extend_pipeline.warehouse.sql import ColumnType
from fixtures.warehouse.files import DATASET, Place, contents, problems, provenance, query, warehouse
from fixtures.warehouse.runs import document, extract_step, raw_lines, run

KEY = ("document_id", "workflow_id", "workflow_version_requested", "run_id", "result_idx")
INTEGER: Any = {"type": "integer"}
NUMBER: Any = {"type": "number"}
TEXT: Any = {"type": "string"}
FLAG: Any = {"type": "boolean"}
DATE: Any = {"type": "string", "extend:type": "date"}
TIME: Any = {"type": "string", "format": "date-time"}
ITEMS: Any = {"type": "array", "items": {"type": "object", "properties": {"amount": INTEGER}}}


def schema_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def land(
    file: Place,
    number: int,
    value: Any,
    contract: SchemaContract | None = None,
    *,
    extractor: str = "Invoices",
    origin: Provenance | None = None,
    **properties: Any,
) -> None:
    """Land document ``number`` with a value that was extracted with a schema of these properties."""
    step = extract_step(value, schema=schema_of(**properties), extractor=extractor)
    with warehouse(file) as opened:
        opened.land(
            [document(number)],
            raw_lines(run(document(number), steps=[step])),
            provenance=origin or provenance(f"batch_{number}", raw_uri=f"raw/{number}"),
            policy=LandingPolicy(schema_contract=contract),
        )


def columns(file: Place, table: str = "invoices") -> dict[str, str]:
    """Return the types of the table's columns, without those that every table has."""
    rows = query(file, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [table])
    return {name: kind for name, kind in rows if name not in (*KEY, "file_id")}


# widening


@pytest.mark.parametrize(
    ("narrow", "wide", "values", "expected"),
    [
        (INTEGER, NUMBER, (7, 7.25), ("DECIMAL(38,9)", ["7.000000000", "7.250000000"])),
        (
            DATE,
            TIME,
            ("2026-11-21", "2026-11-21T08:30:00+01:00"),
            ("TIMESTAMP WITH TIME ZONE", ["2026-11-21 00:00:00+00", "2026-11-21 07:30:00+00"]),
        ),
    ],
    ids=["integer to decimal", "date to time"],
)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["narrow first", "wide first"])
def test_a_column_is_widened_where_that_keeps_every_value(
    file: Place, order: tuple[int, int], narrow: Any, wide: Any, values: Any, expected: Any
) -> None:
    for number in order:
        land(file, number, {"a": values[number]}, a=(narrow, wide)[number])
    assert columns(file) == {"a": expected[0]}
    assert [a for (a,) in query(file, "SELECT a::VARCHAR FROM invoices ORDER BY a")] == expected[1]
    assert query(file, "SELECT type FROM dictionary WHERE column_name = 'a'") == [
        ("DECIMAL" if narrow is INTEGER else "TIMESTAMP",)
    ]
    assert problems(file) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["narrow first", "wide first"])
def test_a_value_is_judged_by_the_schema_it_was_extracted_with(
    duckdb_first: Place, order: tuple[int, int]
) -> None:
    for number in order:
        land(duckdb_first, number, {"a": "1.5"}, a=(INTEGER, NUMBER)[number])
    assert query(duckdb_first, "SELECT a::VARCHAR FROM invoices ORDER BY ALL") == [("1.500000000",), (None,)]
    assert problems(duckdb_first) == [("WRONG_TYPE", "invoices", "a", "a", "1.5")]


def test_two_schemas_in_one_part_widen_a_column_that_is_not_there_yet(file: Place) -> None:
    steps = [extract_step({"a": 7}, schema=schema_of(a=kind)) for kind in (INTEGER, NUMBER, TEXT)]
    with warehouse(file) as opened:
        opened.land([document()], raw_lines(run(document(), steps=steps)), provenance=provenance())
    assert columns(file) == {"a": "DECIMAL(38,9)", "a__text": "VARCHAR"}


# beside


def test_a_type_that_does_not_widen_lands_beside_and_is_told_of(file: Place) -> None:
    land(file, 1, {"a": 7}, a=INTEGER)
    land(file, 2, {"a": "seven"}, a=TEXT)
    land(file, 3, {"a": 7.5}, a=NUMBER)
    assert columns(file) == {"a": "DECIMAL(38,9)", "a__text": "VARCHAR"}
    assert query(file, "SELECT a::VARCHAR, a__text FROM invoices ORDER BY ALL") == [
        ("7.000000000", None),
        ("7.500000000", None),
        (None, "seven"),
    ]
    assert problems(file) == [("TYPE_CHANGED", "invoices", "a", '["a"]', None)]
    before = contents(file)
    land(file, 2, {"a": "seven"}, a=TEXT)
    assert contents(file) == before


def test_a_field_can_be_of_every_kind_in_turn(file: Place) -> None:
    kinds = [INTEGER, TEXT, FLAG, DATE, {"type": "object"}, NUMBER, TIME]
    values = [1, "x", True, "2026-11-21", {"b": 1}, 1.5, "2026-11-21T00:00:00Z"]
    for number, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        land(file, number, {"a": value}, a=kind)
    assert columns(file) == {
        "a": "DECIMAL(38,9)",
        "a__text": "VARCHAR",
        "a__boolean": "BOOLEAN",
        "a__time": "TIMESTAMP WITH TIME ZONE",
        "a__json": "JSON",
    }
    filled = query(
        file,
        "SELECT count(a), count(a__text), count(a__boolean), count(a__time), count(a__json) FROM invoices",
    )
    assert filled == [(2, 1, 1, 2, 1)]


def test_names_of_second_columns_are_cut_and_kept_apart(duckdb_first: Place) -> None:
    one, other = "n" * 62 + "a", "n" * 62 + "b"
    land(duckdb_first, 1, {one: 1, other: 2, "total": 3}, **{one: INTEGER, other: INTEGER, "total": INTEGER})
    land(
        duckdb_first,
        2,
        {one: "x", other: "y"},
        **{one: TEXT, other: TEXT, "total__text": TEXT, "total": TEXT},
    )
    found = columns(duckdb_first)
    assert len(found) == 7
    assert all(len(name.encode()) <= 63 for name in found)
    assert {"total", "total_text", "total__text"} <= found.keys()
    landed = query(
        duckdb_first,
        """SELECT source_path, type FROM dictionary
           WHERE column_name <> '' AND contains(source_path, 'nnn') ORDER BY ALL""",
    )
    assert landed == [(json.dumps([name]), kind) for name in (one, other) for kind in ("INTEGER", "TEXT")]


def test_a_scalar_that_becomes_an_object_or_a_list_keeps_its_column(file: Place) -> None:
    land(file, 1, {"vendor": "Müller", "items": "none"}, vendor=TEXT, items=TEXT)
    land(
        file,
        2,
        {"vendor": {"name": "Maier"}, "items": [{"amount": 1}]},
        vendor={"type": "object", "properties": {"name": TEXT}},
        items=ITEMS,
    )
    rows = query(file, 'SELECT vendor, "items", vendor_name FROM invoices ORDER BY ALL')
    assert rows == [("Müller", "none", None), (None, None, "Maier")]
    assert query(file, "SELECT amount FROM invoices_items") == [(1,)]
    assert problems(file) == []


def test_documents_of_an_old_schema_stay_readable(duckdb_first: Place) -> None:
    land(duckdb_first, 1, {"a": 1, "gone": "kept"}, a=INTEGER, gone=TEXT)
    land(duckdb_first, 2, {"a": 2, "fresh": "x"}, a=INTEGER, fresh=TEXT)
    rows = query(duckdb_first, "SELECT a, gone, fresh FROM invoices ORDER BY a")
    assert rows == [(1, "kept", None), (2, None, "x")]


def test_a_renamed_extractor_has_new_tables_and_the_old_ones_stay(duckdb_first: Place) -> None:
    land(duckdb_first, 1, {"a": 1}, a=INTEGER)
    land(duckdb_first, 2, {"a": 2}, a=INTEGER, extractor="Invoices v2")
    assert query(duckdb_first, "SELECT a FROM invoices UNION ALL SELECT a FROM invoices_v2") == [(1,), (2,)]


@pytest.mark.parametrize("name", ["Dead letters", "in review", "Costs", "documents"])
def test_an_extractor_cannot_take_the_name_of_a_table_or_view_of_ours(duckdb_first: Place, name: str) -> None:
    land(duckdb_first, 1, {"a": 1}, a=INTEGER, extractor=name)
    ((table,),) = query(duckdb_first, "SELECT DISTINCT table_name FROM dictionary")
    assert query(duckdb_first, f'SELECT a FROM "{table}"') == [(1,)]
    assert query(duckdb_first, "SELECT code FROM problems") == [("NAME_CHANGED",)]


# contracts

KNOWN: dict[str, Any] = {"a": INTEGER, "day": DATE, "items": ITEMS}
CHANGED: dict[str, Any] = {
    "a": TEXT,
    "day": TIME,
    "tax": schema_of(rate=NUMBER),
    "items": {"type": "array", "items": {"type": "object", "properties": {"amount": INTEGER, "unit": TEXT}}},
    "notes": {"type": "array", "items": schema_of(tags={"type": "array", "items": TEXT})},
}
VALUE = {
    "a": "seven",
    "day": "2026-11-21T08:00:00Z",
    "tax": {"rate": 0.19},
    "items": [{"amount": 3, "unit": "kg"}],
    "notes": [{"tags": ["x"]}],
}


def test_a_frozen_schema_refuses_the_part_and_names_the_fields(file: Place) -> None:
    land(file, 1, {"a": 1}, "freeze", **KNOWN)
    before, layout = contents(file), columns(file)
    with pytest.raises(SchemaContractError) as caught:
        land(file, 2, VALUE, "freeze", **CHANGED)
    message = str(caught.value)
    for named in (
        "Part raw/2",
        "Invoices: a is another type, TEXT",
        "Invoices: day is TIMESTAMP, where it was DATE",
        "Invoices: tax.rate is a new field, DECIMAL",
        "Invoices: items.unit is a new field, TEXT",
        "Invoices: notes is a new list",
    ):
        assert named in message
    assert "seven" not in message
    assert contents(file) == before
    assert columns(file) == layout
    land(file, 2, VALUE, "evolve", **CHANGED)
    assert query(file, "SELECT tax_rate::DOUBLE FROM invoices") == [(None,), (0.19,)]


def test_a_frozen_schema_takes_what_fits_and_new_extractors(duckdb_first: Place) -> None:
    land(duckdb_first, 1, {"a": 1}, "freeze", a=NUMBER, b=TEXT)
    land(duckdb_first, 2, {"a": 2}, "freeze", a=INTEGER)
    land(duckdb_first, 3, {"c": 3}, "freeze", extractor="Receipts", c=INTEGER)
    assert query(duckdb_first, "SELECT a::INT FROM invoices ORDER BY a") == [(1,), (2,)]
    assert query(duckdb_first, "SELECT c FROM receipts") == [(3,)]


def test_many_refused_fields_are_counted(duckdb_first: Place) -> None:
    land(duckdb_first, 1, {"a": 1}, "freeze", a=INTEGER)
    with pytest.raises(SchemaContractError, match="n19 is a new field, TEXT and 980 more"):
        land(duckdb_first, 2, {}, "freeze", **{f"n{number:02}": TEXT for number in range(1000)})


def test_discarded_fields_are_in_fields_and_told_of_once(duckdb_first: Place) -> None:
    land(duckdb_first, 1, {"a": 1, "day": "2026-11-20", "items": []}, "discard", **KNOWN)
    layout = columns(duckdb_first)
    land(duckdb_first, 2, VALUE, "discard", **CHANGED)
    assert columns(duckdb_first) == layout
    assert columns(duckdb_first, "invoices_items") == {"idx": "BIGINT", "amount": "BIGINT"}
    assert (
        query(duckdb_first, "SELECT table_name FROM duckdb_tables() WHERE contains(table_name, 'notes')")
        == []
    )
    assert query(duckdb_first, "SELECT a, day FROM invoices WHERE result_idx = 0 AND a IS NULL") == [
        (None, None)
    ]
    assert query(duckdb_first, "SELECT amount FROM invoices_items") == [(3,)]
    values = query(
        duckdb_first, "SELECT path, value FROM fields JOIN documents USING (document_id) ORDER BY path"
    )
    assert {("a", "seven"), ("tax.rate", "0.19"), ("items[0].unit", "kg"), ("notes[0].tags[0]", "x")} <= set(
        values
    )
    told = [
        ("DISCARDED", "invoices", "", path, None)
        for path in sorted(['["a"]', '["day"]', '["items", null, "unit"]', '["notes"]', '["tax", "rate"]'])
    ]
    assert problems(duckdb_first) == told
    land(duckdb_first, 3, VALUE, "discard", **CHANGED)
    assert problems(duckdb_first) == told


def test_evolving_later_lands_what_was_discarded(duckdb_first: Place) -> None:
    land(duckdb_first, 1, {"a": 1}, "discard", a=INTEGER)
    land(duckdb_first, 2, {"a": 2, "b": "x"}, "discard", a=INTEGER, b=TEXT)
    land(duckdb_first, 2, {"a": 2, "b": "x"}, "evolve", a=INTEGER, b=TEXT)
    assert query(duckdb_first, "SELECT a, b FROM invoices ORDER BY a") == [(1, None), (2, "x")]


@pytest.mark.parametrize("contract", ["discard", "freeze"])
def test_a_load_that_asks_for_nothing_keeps_the_contract_of_the_workflow(
    duckdb_first: Place, contract: Any
) -> None:
    land(duckdb_first, 1, {"a": 1}, contract, a=INTEGER)
    if contract == "freeze":
        with pytest.raises(SchemaContractError):
            land(duckdb_first, 2, {"b": "x"}, a=INTEGER, b=TEXT)
    else:
        land(duckdb_first, 2, {"b": "x"}, a=INTEGER, b=TEXT)
    assert columns(duckdb_first) == {"a": "BIGINT"}
    assert set(query(duckdb_first, "SELECT schema_contract FROM loads")) == {(contract,)}
    other = Provenance(workflow_id="workflow_other", batch_id="batch_3")
    land(duckdb_first, 3, {"b": "x"}, origin=other, a=INTEGER, b=TEXT)
    assert columns(duckdb_first) == {"a": "BIGINT", "b": "VARCHAR"}


# order

KINDS = [INTEGER, NUMBER, TEXT, FLAG, DATE, TIME, {"type": "object"}]
SCALARS = st.none() | st.sampled_from([1, 2.5, "x", "7", True, "2026-11-21", "2026-11-21T08:00:00Z"])


def decoded(file: Path) -> dict[str, Any]:
    """Return what the tables hold, each column called by the field and the kind of value that it has."""
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute(f"SET schema = '{DATASET}'")
        connection.execute("SET TimeZone = 'UTC'")
        dictionary = connection.execute(
            "SELECT table_name, column_name, extractor, source_path, type FROM dictionary"
        ).fetchall()
        meaning = {
            (table, column): (path, ColumnType(kind).family, kind)
            for table, column, _, path, kind in dictionary
            if column
        }
        found: dict[str, Any] = {"dictionary": Counter(row[2:] for row in dictionary)}
        for table, column, extractor, path, _ in dictionary:
            if column:
                continue
            cursor = connection.execute(f'SELECT * FROM "{table}"')
            names = [meaning.get((table, each[0]), each[0]) for each in cursor.description]
            rows = [dict(zip(map(str, names), map(str, row), strict=True)) for row in cursor.fetchall()]
            found[f"{extractor} {path}"] = sorted(rows, key=repr)
        found["problems"] = sorted(
            (document_id or "", code, *meaning.get((table, column), ("", ""))[:2], path, value or "")
            for document_id, code, table, column, path, value in connection.execute(
                "SELECT document_id, code, table_name, column_name, path, value FROM problems"
            ).fetchall()
            if document_id is not None
        )
        return found


several_parts = st.lists(
    st.tuples(st.sampled_from(KINDS), SCALARS, st.sampled_from(KINDS), st.lists(SCALARS, max_size=2)),
    min_size=2,
    max_size=4,
)
few, many = (
    settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    for examples in (3, 30)
)


def check_order(folders: pytest.TempPathFactory, parts: list[Any], order: random.Random) -> None:
    numbered = list(enumerate(parts))
    shuffled = [*numbered, *numbered]
    order.shuffle(shuffled)
    files = []
    for sequence in (numbered, shuffled):
        file = folders.mktemp("order") / "warehouse.duckdb"
        for number, (kind, value, item, values) in sequence:
            listed = {"type": "array", "items": schema_of(b=item)}
            land(file, number, {"a": value, "l": [{"b": b} for b in values]}, a=kind, l=listed)
        files.append(file)
    assert decoded(files[0]) == decoded(files[1])


@pytest.mark.full
@few
@given(parts=several_parts, order=st.randoms(use_true_random=False))
def test_the_order_of_schemas_changes_no_value(
    tmp_path_factory: pytest.TempPathFactory, parts: list[Any], order: random.Random
) -> None:
    check_order(tmp_path_factory, parts, order)


@pytest.mark.full
@pytest.mark.timeout(1800)
@many
@given(parts=several_parts, order=st.randoms(use_true_random=False))
def test_the_order_of_many_schemas_changes_no_value(
    tmp_path_factory: pytest.TempPathFactory, parts: list[Any], order: random.Random
) -> None:
    check_order(tmp_path_factory, parts, order)


def test_the_order_of_three_schemas_changes_no_value(tmp_path: Path) -> None:
    schemas: list[dict[str, Any]] = [{"a": INTEGER}, {"a": NUMBER, "b": TEXT}, {"a": TEXT, "c": ITEMS}]
    values: list[dict[str, Any]] = [{"a": 1}, {"a": 1.5, "b": "x"}, {"a": "one", "c": [{"amount": 1}]}]
    found = []
    for order in itertools.permutations(range(3)):
        file = tmp_path / f"{order}.duckdb"
        for number in order:
            land(file, number, values[number], **schemas[number])
        found.append(decoded(file))
    assert all(each == found[0] for each in found)
