"""What is Postgres's own: its limits, its rights, its locks, its crashes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extend_pipeline.warehouse.destinations.postgres import Postgres
from extend_pipeline.warehouse.open import open_warehouse
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.schema import tables, views
from fixtures.engines.postgres import Database
from fixtures.warehouse.destinations import (
    land_beside_duckdb,
)
from fixtures.warehouse.files import contents, land, provenance, query, warehouse
from fixtures.warehouse.parts import LATER
from fixtures.warehouse.runs import INVOICE, document, extract_step, many, raw_lines, run

FIRST, SECOND = document(1), document(2)


def strings(*columns: str) -> dict[str, Any]:
    return {"type": "object", "properties": {column: {"type": "string"} for column in columns}}


def test_nul_is_replaced_visibly_and_kept_in_problems(database: Database) -> None:
    schema = strings("plain", "text")
    schema["properties"]["anything"] = {"type": "object"}
    value = {"plain": "x", "text": "a\0b", "anything": {"k\0\0": ["\0", "\\\0", "\\u0000"]}, "new": "\0"}
    part = [FIRST], raw_lines(run(FIRST, steps=[extract_step(value, schema=schema)], failureMessage="m\0"))
    for _ in range(2):
        land(database, *part)
        ((plain, text, anything, message),) = database.rows(
            """SELECT plain, text, anything, message
               FROM extend.invoices JOIN extend.documents USING (document_id)"""
        )
        assert (plain, text, message) == ("x", "a\ufffdb", "m\ufffd")
        assert anything == {"k\ufffd\ufffd": ["\ufffd", "\\\ufffd", "\\u0000"]}
        told = database.rows(
            """SELECT table_name, column_name, path, value FROM extend.problems
               WHERE code = 'NUL_CHARACTER' AND column_name <> 'path' ORDER BY 1, 2, 3"""
        )
        assert [row[:2] for row in told if row[0] != "fields"] == [
            ("documents", "message"),
            ("invoices", "anything"),
            ("invoices", "text"),
            ("runs", "message"),
        ]
        assert ("invoices", "text", None, r"a\u0000b") in told
        assert ("fields", "value", "text", r"a\u0000b") in told
        unknown = database.rows("SELECT value FROM extend.problems WHERE code = 'UNKNOWN_FIELD'")
        assert unknown == [(r"\u0000",)]


@pytest.mark.full
@pytest.mark.parametrize(
    "wider",
    [[(650, 3), (950, 4)], [(1200, 5), (1300, 5), (1300, 5)]],
    ids=repr,
)
def test_a_table_wider_than_a_row_goes_on_in_another(
    database: Database, wider: list[tuple[int, int]]
) -> None:
    def part(count: int) -> tuple[Any, Any]:
        keys = [f"field {number}" for number in range(count)]
        schema = {"type": "object", "properties": {key: {"type": "integer"} for key in keys}}
        value = {key: number for number, key in enumerate(keys)}
        return [FIRST], raw_lines(run(FIRST, steps=[extract_step(value, schema=schema)]))

    for count, last in wider:
        land(database, *part(count))
        tables = [name for name in contents(database) if name.startswith("invoices")]
        assert tables == ["invoices", *(f"invoices__{number}" for number in range(2, last + 1))]
        joined = " ".join(f"JOIN {name} USING (document_id, run_id, result_idx)" for name in tables[1:])
        columns = ", ".join(f"field_{number}" for number in range(count))
        assert query(database, f"SELECT {columns} FROM invoices {joined}") == [tuple(range(count))]


def test_times_and_numbers_at_the_edges_are_what_they_are_in_duckdb(
    database: Database, tmp_path: Path
) -> None:
    schema = {
        "type": "object",
        "properties": {
            "day": {"type": "string", "extend:type": "date"},
            "time": {"type": "string", "format": "date-time"},
            "money": {"type": "number"},
            "whole": {"type": "integer"},
        },
    }
    values = [
        {"day": "0001-01-01", "time": "0001-01-01T00:00:00Z", "money": "-0.000000001", "whole": -(2**63)},
        {"day": "0000-02-29", "time": "0000-02-29T00:00:00Z", "money": "9" * 29, "whole": 2**63 - 1},
        {"day": "9999-12-31", "time": "9999-12-31T23:59:59.999999+14", "money": "1e-9", "whole": 2**64},
    ]
    submission = [document(number) for number in range(len(values))]
    runs = [
        run(each, steps=[extract_step(v, schema=schema)]) for each, v in zip(submission, values, strict=True)
    ]
    for place in (database, tmp_path / "warehouse.duckdb"):
        land(place, submission, raw_lines(*runs))
    asked = (
        "SELECT whole, money::text, extract(epoch FROM day), extract(epoch FROM time) FROM extend.invoices"
    )
    there = {tuple(map(str, row)) for row in database.rows(asked)}
    here = {
        tuple(map(str, row))
        for row in query(
            tmp_path / "warehouse.duckdb",
            """SELECT whole, money::VARCHAR, epoch(day)::BIGINT,
                      (epoch_us(time)::DECIMAL(38,6) / 1000000)::DECIMAL(38,6) FROM invoices""",
        )
    }
    assert {(w, m, int(float(d)), float(t)) for w, m, d, t in there} == {
        (w, m, int(float(d)), float(t)) for w, m, d, t in here
    }


hostile = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=15) | (
    st.sampled_from(['"', '""', "\\.", "\\N", "", " ", "\r\n", "a\nb", ",", "NULL", "%s", "?", "'"])
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.tuples(hostile, st.none() | hostile), min_size=20, max_size=20))
def test_any_text_arrives_as_it_is(database: Database, texts: list[tuple[str, str | None]]) -> None:
    submission = [document(number) for number in range(len(texts))]
    steps = ([extract_step({"a": a, "b": b}, schema=strings("a", "b"))] for a, b in texts)
    # Each time the same runs, so that rows that have landed are fetched, replaced and written again.
    land(database, submission, raw_lines(*(run(d, steps=s) for d, s in zip(submission, steps, strict=True))))
    rows = database.rows("SELECT document_id, a, b FROM extend.invoices")
    assert {key: (a, b) for key, a, b in rows} == {
        each.id: pair for each, pair in zip(submission, texts, strict=True)
    }


@pytest.mark.parametrize("name", ["o'brien", 'a"b', "back\\slash\\'", "50%s ? $1", "e'\\x27"])
def test_names_of_workflows_and_versions_are_no_sql(database: Database, name: str) -> None:
    with warehouse(database) as opened:
        opened.claim([(FIRST, name)], workflow_id=name, version=name)
        (found,) = opened.unlanded([FIRST], workflow_id=name, version=name)
        assert found.chunks == (name,)
        part = provenance(raw_uri=name, repetition=name)
        opened.land([FIRST], raw_lines(run(FIRST)), provenance=part)
        assert list(opened.dead_letters(workflow_id=name, version=name)) == []
        assert list(opened.held_runs(dag_id=name, run_id=name, group_id=name)) == []
        assert opened.note_deleted_runs([name], name) == 0
    assert database.rows("SELECT part, repetition FROM extend.loads") == [(name, name)]


def test_every_view_can_be_read(database: Database, tmp_path: Path) -> None:
    failed = run(SECOND, status="FAILED", steps=[], failureReason="INTERNAL_ERROR")
    land(database, [FIRST, SECOND], raw_lines(run(FIRST), failed))
    for view in views.VIEWS:
        rows = database.rows(f"SELECT * FROM extend.{view}")
        assert bool(rows) is (view not in {"in_review", "low_confidence_fields"}), view


def test_parts_leave_what_they_leave_in_duckdb(database: Database, tmp_path: Path) -> None:
    def said(row: tuple[Any, ...]) -> str:
        return repr(
            [json.loads(each) if isinstance(each, str) and each[:1] in ("{", "[") else each for each in row]
        )

    file = tmp_path / "warehouse.duckdb"
    land_beside_duckdb(lambda: warehouse(database), file)
    expected, found = contents(file), contents(database)
    assert found.keys() == expected.keys()
    for table, rows in expected.items():
        assert sorted(map(said, found[table])) == sorted(map(said, rows)), table


def test_the_connection_alone_decides_and_its_password_is_not_shown(
    database: Database, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(**changes: Any) -> None:
        fields = database.connection(password="secret-4111", **changes)
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", json.dumps(fields))

    connect(extra={"application_name": "acme", "cursor": "dictcursor", "threads": 2, "lock_timeout": 5})
    with open_warehouse("warehouse_test", "documents_of_acme") as opened:
        opened.land([FIRST], raw_lines(run(FIRST)), provenance=provenance())
        assert ("acme",) in database.rows("SELECT application_name FROM pg_stat_activity")
    assert database.rows("SELECT count(*) FROM documents_of_acme.documents") == [(1,)]
    for changes in ({"schema": "no_such_database"}, {"host": "/nowhere"}, {"login": "nobody"}):
        connect(**changes)
        with pytest.raises(WarehouseError, match=r"warehouse_test.*cannot be opened") as caught:
            open_warehouse("warehouse_test", "extend").__enter__()
        assert "4111" not in str(caught.value)
        assert caught.value.__context__ is None


def test_a_warehouse_that_is_closed_says_so(database: Database) -> None:
    with pytest.raises(WarehouseError, match="is closed"):
        warehouse(database).counts()


def test_a_database_of_another_encoding_is_refused(database: Database) -> None:
    name = f"{database.name}_latin"
    database.rows(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    latin = Postgres("Postgres latin", {**database.parameters, "dbname": name})
    try:
        with pytest.raises(WarehouseError, match="LATIN1"):
            latin.open()
    finally:
        latin.close()
        database.rows(f"DROP DATABASE {name}")


def test_columns_of_somebodys_own_stay(database: Database) -> None:
    land(database, [FIRST], raw_lines(run(FIRST)))
    database.rows("ALTER TABLE extend.invoices ADD COLUMN checked_by name")
    database.rows("CREATE TABLE extend.notes (id serial, about point)")
    database.rows("CREATE VIEW extend.mine AS SELECT invoice_number, pages FROM extend.invoices")
    land(database, [FIRST], raw_lines(run(FIRST, {**INVOICE, "pages": 5})), origin=LATER)
    assert database.rows("SELECT pages FROM extend.mine") == [(5,)]
    with warehouse(database) as opened:
        opened.check_writable()


def test_a_change_that_somebodys_view_forbids_is_said(database: Database) -> None:
    def part(kind: str, value: Any) -> tuple[Any, Any]:
        schema = {"type": "object", "properties": {"a": {"type": kind}}}
        return [FIRST], raw_lines(run(FIRST, steps=[extract_step({"a": value}, schema=schema)]))

    land(database, *part("integer", 1))
    database.rows("CREATE VIEW extend.mine AS SELECT a FROM extend.invoices")
    with pytest.raises(WarehouseError, match=r"statement 'widen invoices'.*view"):
        land(database, *part("number", 1.5), origin=LATER)
    database.rows("DROP VIEW extend.mine")
    land(database, *part("number", 1.5), origin=LATER)
    assert database.rows("SELECT a::float FROM extend.invoices") == [(1.5,)]


def test_what_rows_are_looked_for_by_is_indexed(database: Database) -> None:
    land(database, [FIRST], raw_lines(run(FIRST)))
    with database.connect() as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO extend.documents SELECT * FROM extend.documents")
    missing = database.rows(
        """SELECT relname FROM pg_class AS relation
           WHERE relnamespace = 'extend'::regnamespace AND relkind = 'r'
             AND relname NOT IN ('dictionary', '_schema_version')
             AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = relation.oid)"""
    )
    assert missing == []


def test_landing_again_does_not_compare_every_row_with_every_key(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = 500
    submission, raw = many(documents)
    lines = list(raw)
    inserted = sum(land(database, submission, lines).rows.values())
    looked_at: dict[str, int] = {}
    asked = Postgres._asked

    def explained(self: Postgres, sql: str, parameters: Sequence[object] = ()) -> Any:
        if not sql.startswith("DELETE"):
            return asked(self, sql, parameters)
        cursor = asked(self, f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
        (([plan],),) = cursor.fetchall()
        looked_at[sql] = rows_looked_at(plan["Plan"])
        return cursor

    monkeypatch.setattr(Postgres, "_asked", explained)
    land(database, submission, lines)
    assert len(looked_at) > len(tables.REPLACED)
    assert sum(looked_at.values()) < 10 * inserted, looked_at


def rows_looked_at(plan: Mapping[str, Any]) -> int:
    """Return how many rows a plan's steps have returned or left out, each as often as it ran."""
    rows: float = sum(
        count for name, count in plan.items() if name == "Actual Rows" or name.startswith("Rows Removed")
    )
    return round(rows * int(plan["Actual Loops"])) + sum(map(rows_looked_at, plan.get("Plans", ())))
