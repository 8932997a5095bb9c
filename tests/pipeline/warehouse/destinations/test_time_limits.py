"""A statement for the page ends in time, by what each engine has for it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from extend_pipeline.warehouse.destinations.bigquery import BigQuery
from extend_pipeline.warehouse.destinations.databricks_api import SqlWarehouse, fault
from extend_pipeline.warehouse.destinations.snowflake import Snowflake
from extend_pipeline.warehouse.records import WarehouseError
from fixtures.engines.postgres import Database
from fixtures.engines.redshift import Redshift
from fixtures.warehouse.files import warehouse

LONG: Any = "SELECT count(*) FROM generate_series(1, 100000) AS a(x), generate_series(1, 100000) AS b(y)"


def test_postgres_ends_a_statement_and_says_so(new_database: Callable[[], Database]) -> None:
    opened = warehouse(new_database())
    opened.read_only(0.2)
    with opened, pytest.raises(WarehouseError, match=r"QueryCanceled .*statement timeout"):
        opened.session("Page").rows("count", LONG)
    with opened, pytest.raises(WarehouseError, match="25006"):
        opened.session("Page").run("make schema", "CREATE SCHEMA other")


def test_redshift_is_given_the_limit(redshift: Redshift, monkeypatch: pytest.MonkeyPatch) -> None:
    from extend_pipeline.warehouse.open import open_warehouse
    from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse

    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", redshift.connection())
    opened = open_warehouse("warehouse_test", "extend")
    assert isinstance(opened, RemoteWarehouse)
    opened.read_only(10)
    with opened:
        assert "SET statement_timeout TO '10000'" in redshift.statements


def test_snowflake_is_given_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import snowflake.connector

    given: dict[str, Any] = {}
    monkeypatch.setattr(snowflake.connector, "connect", lambda **parameters: given.update(parameters))
    destination = Snowflake("Snowflake", {})
    destination.read_only(9.5)
    destination.open()
    assert given["session_parameters"]["STATEMENT_TIMEOUT_IN_SECONDS"] == 10
    assert given["session_parameters"]["TIMEZONE"] == "UTC"


def test_bigquery_is_given_the_limit() -> None:
    asked: list[Any] = []

    def query(sql: str, **options: Any) -> Any:
        asked.append(options["job_config"].to_api_repr().get("jobTimeoutMs"))
        return SimpleNamespace(result=lambda **_: SimpleNamespace(pages=[]))

    client: Any = SimpleNamespace(query=query)
    destination = BigQuery("BigQuery", lambda: client)
    destination.open()
    assert list(destination.pages("SELECT 1")) == []
    destination.read_only(10)
    assert list(destination.pages("SELECT 1")) == []
    assert asked == [None, "10000"]


def test_databricks_cancels_a_statement_that_does_not_end() -> None:
    from databricks.sdk.service.sql import StatementResponse, StatementState, StatementStatus

    running = StatementResponse(statement_id="one", status=StatementStatus(state=StatementState.RUNNING))
    cancelled: list[str] = []
    waits: list[str] = []

    def execute(*_: Any, wait_timeout: str, **__: Any) -> StatementResponse:
        waits.append(wait_timeout)
        return running

    statements = SimpleNamespace(
        execute_statement=execute, get_statement=lambda _: running, cancel_execution=cancelled.append
    )
    workspace: Any = SimpleNamespace(statement_execution=statements)
    with pytest.raises(Exception, match="STATEMENT_TIMEOUT") as raised:
        SqlWarehouse(workspace, "warehouse", "catalog", 0.1).execute("SELECT 1")
    assert (cancelled, waits) == (["one"], ["5s"])
    known = fault(raised.value)
    assert known is not None
    assert known[0] == "STATEMENT_TIMEOUT"
