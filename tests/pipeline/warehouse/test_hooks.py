"""What the *Test* button of a warehouse's connection says, and which connections are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.warehouse.hooks import HOOKS
from extend_pipeline.warehouse.open import open_warehouse
from extend_pipeline.warehouse.records import WarehouseError
from fixtures.engines.postgres import Database
from fixtures.warehouse.files import land, warehouse
from fixtures.warehouse.runs import document, raw_lines, run

DOCUMENT = document(1)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    def connect(**fields: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", json.dumps(fields))

    return connect


def answer(kind: str = "duckdb") -> tuple[bool, str]:
    works, told = HOOKS[kind]("warehouse_test").test_connection()
    return works, told


def test_a_file_is_told_with_its_size_and_datasets(connect: Any, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    connect(conn_type="duckdb", host=str(file))
    land(file, [DOCUMENT], raw_lines(run(DOCUMENT)))
    before = file.read_bytes()
    works, told = answer()
    assert works
    assert told == f"{file}: {len(before) / 1_000_000:,.1f} MB; datasets: 'extend' with 1 documents."
    assert file.read_bytes() == before


def test_a_file_without_tables_is_told(connect: Any, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    connect(conn_type="duckdb", host=str(file))
    with warehouse(file) as opened:
        opened.counts()
    works, told = answer()
    assert works
    assert told.endswith("no dataset yet: the first load makes it.")


def test_a_file_that_is_not_there_is_told_and_not_made(connect: Any, tmp_path: Path) -> None:
    connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb"))
    works, told = answer()
    assert works
    assert f"There is no file {tmp_path / 'w.duckdb'} yet" in told
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_fails(connect: Any, tmp_path: Path) -> None:
    connect(conn_type="duckdb", host=str(tmp_path / "mistyped" / "w.duckdb"))
    works, told = answer()
    assert not works
    assert f"no folder {tmp_path / 'mistyped'}" in told


def test_a_file_that_another_process_has_open_is_told(connect: Any, tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    connect(conn_type="duckdb", host=str(file))
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        works, told = answer()
        holder.communicate("")
    assert not works
    assert told.startswith(f"{file} is open in another process")


def test_a_file_that_is_no_warehouse_is_told(connect: Any, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database " * 1000)
    connect(conn_type="duckdb", host=str(file))
    works, told = answer()
    assert not works
    assert told.startswith(f"{file} cannot be opened")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("md:analytics", "begins with md:.*MotherDuck is not a destination yet"),
        ("motherduck:analytics", "begins with motherduck:.*MotherDuck"),
        ("MD:analytics", "begins with MD:.*MotherDuck"),
        ("s3://acme/warehouse.duckdb", "begins with s3:.*DuckDB writes local files only"),
        ("https://acme.example/w.duckdb", "begins with https:.*local files only"),
        ("file:///data/w.duckdb", "begins with file:.*Leave the scheme out"),
        ("file:w.duckdb", "begins with file:.*Leave the scheme out"),
        ("duckdb:///data/w.duckdb", "begins with duckdb:.*Leave the scheme out"),
        ("postgresql://acme.example/analytics", "begins with postgresql:.*a connection of its type"),
        ("ducklake:metadata.ducklake", "begins with ducklake:"),
        ("$WAREHOUSE", "begins with s3:"),
        ("/", "is the folder /;"),
    ],
)
def test_a_duckdb_host_that_is_no_file_is_refused(
    connect: Any, monkeypatch: pytest.MonkeyPatch, host: str, message: str
) -> None:
    monkeypatch.setenv("WAREHOUSE", "s3://acme/w.duckdb")
    connect(conn_type="duckdb", host=host)
    with pytest.raises(WarehouseError, match=message):
        open_warehouse("warehouse_test", "extend")
    works, told = answer()
    assert not works
    assert "'warehouse_test': the host" in told


def test_a_copy_for_readers_is_a_file_too(connect: Any, tmp_path: Path) -> None:
    connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb"), extra={"snapshot": "s3://acme/w.duckdb"})
    with pytest.raises(WarehouseError, match="extra field snapshot begins with s3:"):
        open_warehouse("warehouse_test", "extend")


def test_a_path_in_a_uri_is_told_how_to_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", "duckdb:///data/w.duckdb")
    with pytest.raises(WarehouseError, match=r"duckdb://%2Fdata%2Fwarehouse\.duckdb"):
        open_warehouse("warehouse_test", "extend")
    encoded = str(tmp_path / "w.duckdb").replace("/", "%2F")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", f"duckdb://{encoded}:1")
    with open_warehouse("warehouse_test", "extend") as opened:
        opened.counts()
        assert (tmp_path / "w.duckdb").exists()


def test_a_connection_stored_as_generic_says_why_and_what_to_do(connect: Any) -> None:
    connect(conn_type="generic", host="/data/w.duckdb")
    with pytest.raises(
        WarehouseError,
        match=r"type 'generic'.*no installed provider registers.*Install airflow-provider-extend.*"
        "airflow connections delete warehouse_test.*duckdb, google_cloud_platform, postgres",
    ):
        open_warehouse("warehouse_test", "extend")


def test_another_warehouse_is_connected_to(connect: Any, new_database: Callable[[], Database]) -> None:
    database = new_database()
    connect(**database.connection())
    works, told = answer("postgres")
    assert works, told
    assert told.startswith("Connected. There is no dataset 'extend' yet")
    connect(**database.connection(schema="no_such_database"))
    works, told = answer("postgres")
    assert not works
    assert "no_such_database" in told
