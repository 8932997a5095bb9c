"""Landing in Snowflake, as far as fakesnow, which runs its statements on DuckDB, can tell."""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakesnow
import pytest
import snowflake.connector

from extend_pipeline.warehouse.destinations import snowflake as destination
from extend_pipeline.warehouse.destinations.snowflake import Snowflake
from extend_pipeline.warehouse.open import open_warehouse
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse
from extend_pipeline.warehouse.schema import views
from fixtures.warehouse.crashes import FEW_OR_EVERY, LAST_WRITE, break_loads
from fixtures.warehouse.destinations import (
    assert_same_rows,
    claim_and_find,
    land_after,
    land_before,
    land_beside_duckdb,
    land_while_a_cast_breaks,
    migrate_and_refuse,
    plan_land_and_ask,
)
from fixtures.warehouse.files import OF_THE_LEDGER, provenance, warehouse
from fixtures.warehouse.runs import document, raw_lines, run

FIRST, SECOND = document(1), document(2)


@pytest.fixture(autouse=True)
def account() -> Iterator[None]:
    """A Snowflake for one test."""
    with warnings.catch_warnings(), fakesnow.patch():
        warnings.simplefilter("ignore")
        yield


def opened() -> RemoteWarehouse:
    return RemoteWarehouse(Snowflake("Snowflake", {"database": "ACME"}), "extend")


def ask(sql: str) -> list[Any]:
    with snowflake.connector.connect(database="ACME") as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        return list(cursor.fetchall())


def contents() -> dict[str, list[str]]:
    """Return all rows, without the times of loading."""
    with opened() as warehouse:
        columns = warehouse.session("look").columns("extend")
    return {
        table: sorted(map(readable, ask(f'SELECT {", ".join(named(each))} FROM extend."{table.upper()}"')))
        for table, each in columns.items()
    }


def contents_of_duckdb(file: Path) -> dict[str, list[str]]:
    with warehouse(file) as here:
        session = here.session("look")
        return {
            table: sorted(
                map(readable, session.rows("look", f'SELECT {", ".join(named(each))} FROM extend."{table}"'))
            )
            for table, each in session.columns("extend").items()
        }


def named(columns: Any) -> list[str]:
    return [f'"{name}"' for name in sorted(columns) if name not in OF_THE_LEDGER]


def readable(row: Any) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, dt.datetime):
            return value.astimezone(dt.UTC).isoformat()
        if isinstance(value, str) and value[:1] in ("{", "["):
            return json.dumps(json.loads(value))
        return value

    return repr([plain(value) for value in row])


@FEW_OR_EVERY
def test_parts_leave_what_they_leave_in_duckdb(tmp_path: Path, every: bool) -> None:
    file = tmp_path / "warehouse.duckdb"
    land_beside_duckdb(opened, file, every=every)
    assert_same_rows(contents(), contents_of_duckdb(file))


def test_claims_and_what_has_landed_are_found() -> None:
    claim_and_find(opened, "o'brien\\")
    plan_land_and_ask(opened)
    for view in views.VIEWS:
        ask(f"SELECT * FROM extend.{view}")


def test_a_dataset_of_another_release_is_migrated_or_refused() -> None:
    migrate_and_refuse(opened)


@pytest.mark.full
@FEW_OR_EVERY
def test_a_load_that_breaks_while_it_writes_leaves_the_rows_that_were_there(every: bool) -> None:
    def rows() -> list[Any]:
        return [
            sorted(ask(f"SELECT * FROM extend.{table}"), key=repr)
            for table in ("documents", "loads", "fields", "invoices_tags")
        ]

    land_before(opened)
    break_loads(
        lambda: land_after(opened),
        rows,
        result=contents,
        few=["delete from documents", LAST_WRITE],
        every=every,
        there=True,
    )


def test_an_error_of_snowflake_quotes_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    message = land_while_a_cast_breaks(opened, destination, monkeypatch)
    assert "Part raw/2 into Snowflake" in message


def test_the_connection_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(**extra: Any) -> None:
        fields = {"conn_type": "snowflake", "login": "extend", "password": "secret-4111", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", json.dumps(fields))

    connect(account="acme-1", database="ACME", warehouse="LOADING")
    with open_warehouse("warehouse_test", "documents_of_acme") as there:
        there.land([FIRST], raw_lines(run(FIRST)), provenance=provenance())
    assert ask("SELECT count(*) FROM documents_of_acme.documents") == [(1,)]
    connect(account="acme-1")
    with pytest.raises(WarehouseError, match="needs the extra field 'database'"):
        open_warehouse("warehouse_test", "extend")
