"""Landing in Databricks, as far as its SDK, sqlglot and minilake behind them can tell."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.destinations import databricks as destination
from extend_pipeline.warehouse.destinations import databricks_api
from extend_pipeline.warehouse.hooks import HOOKS
from extend_pipeline.warehouse.open import open_warehouse
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.schema import views
from fixtures.engines.databricks import PRINCIPAL, TOKEN, Databricks
from fixtures.warehouse.crashes import FEW_OR_EVERY, Crash
from fixtures.warehouse.destinations import (
    EDGE_TYPES,
    EDGE_VALUES,
    assert_same_rows,
    land_beside_duckdb,
    land_values,
    land_while_a_cast_breaks,
    migrate_and_refuse,
    opener,
    plan_land_and_ask,
    rows_as_json,
)
from fixtures.warehouse.files import provenance, query, warehouse
from fixtures.warehouse.parts import AFTER, BEFORE, LATER
from fixtures.warehouse.runs import document, extract_step, raw_lines, run

FIRST, SECOND = document(1), document(2)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databricks_api, "_POLL_SECONDS", 0.01)


@pytest.fixture
def opened(databricks: Databricks, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Warehouse]:
    """See :func:`opener`."""
    return opener(monkeypatch, databricks.connection)


def landed(place: Databricks | Path) -> dict[str, list[str]]:
    """Return all rows by table, values by column, without the times of loading."""

    def ask(sql: str) -> list[Any]:
        return place.rows(sql) if isinstance(place, Databricks) else query(place, sql)

    within = place.catalog if isinstance(place, Databricks) else place.stem
    columns: dict[str, list[str]] = {}
    for table, name in ask(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'extend' "
        f"AND database_name = '{within}' AND NOT starts_with(table_name, '_staged_') AND table_name IN "
        "(SELECT table_name FROM duckdb_tables()) ORDER BY table_name, column_name"
    ):
        columns.setdefault(table, []).append(name)
    return rows_as_json(ask, columns, "extend.")


def told(place: Databricks) -> dict[str, list[Any]]:
    """Return what the rows say: a column that is new says nothing, and one that is wider the same."""

    def said(row: str) -> dict[str, Any]:
        values = json.loads(row, parse_int=float).items()
        return {name: value for name, value in values if value is not None}

    return {table: [said(row) for row in rows] for table, rows in landed(place).items() if rows}


def staged_tables(place: Databricks) -> list[str]:
    names = place.rows(f"SELECT table_name FROM duckdb_tables() WHERE database_name = '{place.catalog}'")
    return [name for (name,) in names if name.startswith("_staged_")]


@FEW_OR_EVERY
def test_parts_leave_what_they_leave_in_duckdb(
    databricks: Databricks, opened: Callable[..., Warehouse], tmp_path: Path, every: bool
) -> None:
    file = tmp_path / "warehouse.duckdb"
    land_beside_duckdb(opened, file, every=every)
    assert_same_rows(landed(databricks), landed(file))
    assert staged_tables(databricks) == []
    assert databricks.staged_files() == []


@pytest.mark.full
def test_claims_and_what_has_landed_are_found(
    databricks: Databricks, opened: Callable[..., Warehouse]
) -> None:
    key: Any = {"workflow_id": "o'brien\\ `x`", "version": None}
    many = [document(number) for number in range(10, 1_510)]
    with opened() as there:
        there.check_writable()
        there.claim([(each, "a") for each in many[::2]], **key)
        assert [each.chunks for each in there.unlanded(many, **key)] == [("a",), ()] * 750
        assert not there.claim([(many[0], "b")], **key), "another plan has it"
        assert [each.documents for each in there.claims()] == [750]
        assert there.claim([(many[1], "b")], **key, freed=["a"])
        assert [each.chunk for each in there.claims()] == ["b"]
    assert staged_tables(databricks) == []
    plan_land_and_ask(opened)
    for view in views.VIEWS:
        databricks.rows(f"SELECT * FROM extend.{view}")


def test_a_dataset_of_another_release_is_migrated_or_refused(opened: Callable[..., Warehouse]) -> None:
    migrate_and_refuse(opened)


def test_values_at_the_edges_are_what_they_are_in_duckdb(
    databricks: Databricks, opened: Callable[..., Warehouse], tmp_path: Path
) -> None:
    properties = {
        **EDGE_TYPES,
        "text": {"type": "string"},
        "größe": {"type": "string"},
        "any": {"type": "object"},
    }
    hostile = ['"', "\\N", "\\'", "", " ", "\r\n", "NULL", "`a` ${b} {{c}}", "?", "$1 :a", "a\0b", "請🙂"]
    values = [
        *EDGE_VALUES,
        *({"text": text, "größe": text, "any": {text or "empty": [text, None, 1.5]}} for text in hostile),
    ]
    # A column that gets wider takes the table's old rows with it.
    wider = {**properties, "day": {"type": "string", "format": "date-time"}, "whole": {"type": "number"}}
    late = {"day": "2026-11-22T23:30:00-02:00", "whole": 0.5}
    file = tmp_path / "warehouse.duckdb"
    places = [opened, lambda: warehouse(file)]
    land_values(places, properties, values, first=1)
    land_values(places, wider, [late], first=100, origin=LATER)
    expected = landed(file)
    assert len(expected["invoices"]) == len(values) + 1
    assert landed(databricks) == expected


def test_what_no_column_of_databricks_holds_is_kept_in_another_way(
    databricks: Databricks, opened: Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    shorter = dataclasses.replace(destination.Databricks.dialect, longest=10_000)
    monkeypatch.setattr(destination.Databricks, "dialect", shorter)
    properties = {
        "day": {"type": "string", "extend:type": "date"},
        "time": {"type": "string", "format": "date-time"},
        "text": {"type": "string"},
    }
    value = {"day": "0000-01-01", "time": "0001-01-01T00:00:00+01", "text": "€" * 3_334}
    step = extract_step(value, schema={"type": "object", "properties": properties})
    with opened() as there:
        there.land([FIRST], raw_lines(run(FIRST, steps=[step])), provenance=provenance())
    found = databricks.rows("SELECT day, time, length(text), right(text, 2) FROM extend.invoices")
    assert found == [[None, None, 2_500, "€…"]]
    kept = databricks.rows("SELECT value FROM extend.fields WHERE path IN ('day', 'time') ORDER BY path")
    assert kept == [["0000-01-01"], ["0001-01-01T00:00:00+01"]]
    told = databricks.rows("SELECT code, column_name FROM extend.problems WHERE table_name = 'invoices'")
    assert sorted(told) == [
        ["TEXT_TOO_LONG", "text"],
        *(["YEAR_OUT_OF_RANGE", name] for name in ("day", "time")),
    ]


@pytest.mark.full
@FEW_OR_EVERY
def test_a_load_that_breaks_anywhere_leaves_the_rows_that_were_there(
    databricks: Databricks, opened: Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch, every: bool
) -> None:
    """The warehouse is gone after a statement, so nothing can be cleared up either."""
    with opened() as there:
        there.land(*BEFORE, provenance=provenance())
    before = told(databricks)
    for last in itertools.count(1) if every else itertools.count(3, 14):
        left = itertools.chain([None] * last, itertools.repeat("[INTERNAL_ERROR] secret-4111"))
        databricks.failing = lambda sql, left=left: next(left)  # type: ignore[misc]
        try:
            with opened() as there:
                there.land(*AFTER, provenance=LATER)
        except WarehouseError:
            databricks.failing = lambda sql: None
        else:
            break
        assert told(databricks) == before, f"after {last} statements"
    databricks.failing = lambda sql: None
    assert last > 30
    assert staged_tables(databricks)
    once = landed(databricks)
    # What the dead have left is in nobody's way, and goes when nobody can be at it any more.
    monkeypatch.setattr(destination, "_STALE", timedelta(days=-1))
    with opened() as there:
        there.land(*AFTER, provenance=LATER)
        assert not {table for table in there.counts() if table.startswith("_")}
    assert landed(databricks) == once
    assert staged_tables(databricks) == []


def test_an_answer_that_is_lost_does_no_harm(
    databricks: Databricks, opened: Callable[..., Warehouse], tmp_path: Path
) -> None:
    file = tmp_path / "warehouse.duckdb"
    for part, origin, unheard in (
        (BEFORE, provenance(), "CREATE TABLE"),
        (AFTER, LATER, "BEGIN ATOMIC"),
    ):
        databricks.unheard = unheard
        for place in (opened(), warehouse(file)):
            with place as there:
                there.land(*part, provenance=origin)
        assert databricks.unheard == ""
    sent = [each for each in databricks.statements if each.startswith("BEGIN ATOMIC")]
    assert sent[-1] == sent[-2]
    assert landed(databricks) == landed(file)


def test_whoever_ends_while_a_statement_runs_cancels_it(
    databricks: Databricks, opened: Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        raise Crash

    databricks.endless = "CREATE OR REPLACE TABLE"
    with opened() as there, monkeypatch.context() as patched:
        patched.setattr(time, "sleep", sleep)
        with pytest.raises(Crash):
            there.land(*BEFORE, provenance=provenance())
    assert len(databricks.cancelled) == 1
    assert databricks.staged_files() == []


def test_an_error_of_databricks_quotes_no_value(
    databricks: Databricks, opened: Callable[..., Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = land_while_a_cast_breaks(opened, destination, monkeypatch)
    assert "Part raw/2 into Databricks" in message
    assert "CAST_INVALID_INPUT" in message
    # Of two that write to the same tables, Delta lets the first one through.
    conflict = "[DELTA_CONCURRENT_APPEND.WITH_PARTITION_HINT] Files were added: secret-4111"
    databricks.failing = lambda sql: conflict if sql.startswith("BEGIN ATOMIC") else None
    with opened() as there, pytest.raises(WarehouseError, match="Clear the task to try again") as caught:
        there.land([FIRST], raw_lines(run(FIRST)), provenance=LATER)
    assert "DELTA_CONCURRENT_APPEND" in str(caught.value)
    assert "4111" not in str(caught.value)
    databricks.failing = lambda sql: None
    assert databricks.rows("SELECT count(*) FROM extend.documents") == [[0]]
    assert staged_tables(databricks) == []


def test_what_cannot_be_written_to_is_refused_before_a_document_is_paid_for(
    databricks: Databricks, opened: Callable[..., Warehouse]
) -> None:
    denied = "[INSUFFICIENT_PERMISSIONS] User does not have CREATE TABLE on Schema 'extend'. SQLSTATE: 42501"
    databricks.failing = lambda sql: denied if sql.startswith("CREATE TABLE") else None
    with (
        opened() as there,
        pytest.raises(WarehouseError, match=r"could not land.*does not have CREATE TABLE"),
    ):
        there.check_writable()
    databricks.failing = lambda sql: "[PATH_NOT_FOUND] Path does not exist" if "READ_FILES" in sql else None
    with opened() as there, pytest.raises(WarehouseError, match=r"could not land.*PATH_NOT_FOUND"):
        there.check_writable()
    databricks.failing = lambda sql: None
    with opened() as there:
        there.check_writable()
    databricks.rows("CREATE TABLE extend.documents (document_id VARCHAR)")  # somebody's own, of another kind
    with (
        opened() as there,
        pytest.raises(WarehouseError, match=r"managed by Unity.*extend.documents") as caught,
    ):
        there.check_writable()
    assert "could not land" in str(caught.value)


@pytest.mark.parametrize("missing", ["http_path", "catalog", "staging"])
def test_a_connection_that_does_not_fit_is_refused(opened: Callable[..., Warehouse], missing: str) -> None:
    with pytest.raises(WarehouseError, match=f"needs the workspace's address.*'{missing}'"):
        opened(**{missing: "elsewhere" if missing != "catalog" else ""})


def test_the_connection_says_who_we_are(
    databricks: Databricks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "of somebody else")
    fields = json.loads(databricks.connection())

    def connected(login: str | None, password: str | None, **extra: Any) -> Warehouse:
        changed = {**fields, "login": login, "password": password, "extra": {**fields["extra"], **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", json.dumps(changed))
        return open_warehouse("warehouse_test", "extend")

    for there in (
        connected(None, TOKEN),
        connected("token", None, token=TOKEN),
        connected(*PRINCIPAL, service_principal_oauth=True),
    ):
        with there:
            assert there.counts() == {}
    connected(None, TOKEN)
    accepted, message = HOOKS["databricks"]("warehouse_test").test_connection()
    assert accepted
    assert "experimental" in message
    for refused in (
        connected(None, "secret-4113"),
        connected("extend-landing", "secret-4113", service_principal_oauth=True),
    ):
        with pytest.raises(WarehouseError, match=r"warehouse_test.*cannot be opened: \w+") as caught:
            refused.__enter__()
        assert "411" not in str(caught.value) + caplog.text
        assert caught.value.__context__ is None
    with pytest.raises(WarehouseError, match="needs a personal access token"):
        connected(None, None)
    away = destination.Databricks(
        "Databricks acme",
        lambda: WorkspaceClient(
            config=Config(host="http://127.0.0.1:1", token=TOKEN, auth_type="pat", retry_timeout_seconds=1)
        ),
        warehouse_id="1",
        catalog="acme",
        staging="/Volumes/a/b/c",
    )
    with pytest.raises(WarehouseError, match="reachable from here"):
        away.open()
