from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.connection_types import DESTINATIONS
from extend_pipeline.warehouse.destinations import module_for
from extend_pipeline.warehouse.open import open_warehouse, publish_snapshot
from extend_pipeline.warehouse.records import UnlandedDocument, WarehouseBusyError, WarehouseError
from fixtures.warehouse.files import land, provenance, query, warehouse
from fixtures.warehouse.holder import holding
from fixtures.warehouse.runs import document, raw_lines, run

DOCUMENT = document(1)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    def connect(**fields: Any) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_TEST", json.dumps(fields))

    return connect


def test_the_connection_alone_decides_where_documents_land(connect: Any, tmp_path: Path) -> None:
    file = tmp_path / "made" / "on the way" / "warehouse.duckdb"
    connect(conn_type="duckdb", host=str(file), extra={"memory_limit_mb": 300, "threads": 2})
    with open_warehouse("warehouse_test", "documents_of_acme") as opened:
        opened.land([DOCUMENT], raw_lines(run(DOCUMENT)), provenance=provenance())
        assert opened.counts()["documents"] == 1
    assert file.exists()
    assert not file.with_name(f"{file.name}.tmp").exists()


def test_variables_in_the_path_are_expanded(
    connect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_HOME", str(tmp_path))
    connect(conn_type="duckdb", host="$ACME_HOME/warehouse.duckdb")
    with open_warehouse("warehouse_test", "extend") as opened:
        opened.counts()
        assert (tmp_path / "warehouse.duckdb").exists()


def test_readers_get_a_copy_where_the_connection_says(
    connect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_HOME", str(tmp_path))
    connect(
        conn_type="duckdb", host="$ACME_HOME/own/w.duckdb", extra={"snapshot": "$ACME_HOME/read/w.duckdb"}
    )
    with open_warehouse("warehouse_test", "extend") as opened:
        opened.land([DOCUMENT], raw_lines(run(DOCUMENT)), provenance=provenance())
    publish_snapshot("warehouse_test", "extend")
    assert query(tmp_path / "read" / "w.duckdb", "SELECT count(*) FROM documents") == [(1,)]


def test_without_a_place_for_a_copy_the_file_is_not_even_opened(connect: Any, tmp_path: Path) -> None:
    connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb"))
    publish_snapshot("warehouse_test", "extend")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"conn_type": "mysql", "host": "x"},
            "is of type .mysql..*duckdb, google_cloud_platform, postgres, redshift, snow",
        ),
        ({"conn_type": "duckdb"}, "'warehouse_test' needs the path"),
        ({"conn_type": "duckdb", "host": ":memory:"}, "'warehouse_test' needs the path"),
        (
            {"conn_type": "duckdb", "host": "/x", "extra": {"threads": "many"}},
            "threads='many' is not a number",
        ),
        (
            {"conn_type": "duckdb", "host": "/x/w.duckdb", "extra": {"snapshot": "/x/w.duckdb"}},
            "snapshot='/x/w.duckdb' is the warehouse itself",
        ),
    ],
    ids=["other type", "no file", "in memory", "extra", "snapshot"],
)
def test_a_connection_that_does_not_fit_is_refused(connect: Any, fields: Any, message: str) -> None:
    connect(**fields)
    with pytest.raises(WarehouseError, match=message):
        open_warehouse("warehouse_test", "extend")


@pytest.mark.parametrize(
    "dataset", ["", "Extend", "1st", "a-b", 'a"b', "a.b", "temp", "information_schema", "x" * 64]
)
def test_a_dataset_that_cannot_name_a_schema_is_refused(dataset: str) -> None:
    with pytest.raises(WarehouseError, match="dataset="):
        open_warehouse("warehouse_test", dataset)


def test_only_what_was_never_run_for_real_is_called_experimental(
    connect: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    modules = {kind: module_for(kind) for kind in DESTINATIONS}
    marked = {kind for kind, module in modules.items() if module is not None and module.EXPERIMENTAL}
    assert marked == {"databricks", "google_cloud_platform", "redshift"}
    connect(conn_type="duckdb", host=str(tmp_path / "w.duckdb"))
    open_warehouse("warehouse_test", "extend")
    assert caplog.messages == []
    connect(conn_type="google_cloud_platform", extra={"project": "acme", "is_anonymous": True})
    open_warehouse("warehouse_test", "extend")
    (message,) = (one.message for one in caplog.records if one.name.startswith("extend_"))
    assert message.startswith("Connection 'warehouse_test': this kind of warehouse is experimental. It was")


def test_a_file_that_is_no_warehouse_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database " * 1000)
    refused = pytest.raises(
        WarehouseError, match=r"notes.txt \(connection 'warehouse_test'\) cannot be opened"
    )
    with refused, warehouse(file) as opened:
        opened.counts()


def test_a_closed_warehouse_says_so(tmp_path: Path) -> None:
    with pytest.raises(WarehouseError, match="is closed"):
        warehouse(tmp_path / "warehouse.duckdb").counts()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A file that another process has open, until its standard input is closed."""
    file = tmp_path / "warehouse.duckdb"
    with holding(file) as holder:
        yield file, holder


def test_a_file_held_by_another_process_is_waited_for_and_then_named_with_its_holder(held: Any) -> None:
    file, holder = held
    busy = pytest.raises(WarehouseBusyError, match=rf"process {holder.pid}\).*0.3 s.*let it end")
    with busy, warehouse(file, lock_timeout=0.3) as opened:
        opened.counts()


def test_a_part_is_read_before_the_file_is_opened(held: Any) -> None:
    file, _ = held
    lines = iter(raw_lines(run(DOCUMENT)))
    with pytest.raises(WarehouseBusyError), warehouse(file, lock_timeout=0.1) as opened:
        opened.land([DOCUMENT], lines, provenance=provenance())
    assert next(lines, None) is None


def test_a_file_that_is_let_go_in_time_is_opened(held: Any) -> None:
    file, holder = held
    release = threading.Timer(0.5, holder.stdin.close)
    release.start()
    with warehouse(file, lock_timeout=20) as opened:
        opened.land([DOCUMENT], raw_lines(run(DOCUMENT)), provenance=provenance())
    release.join()


def test_a_file_that_this_process_has_open_elsewhere_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "warehouse.duckdb"
    first = warehouse(file).__enter__()
    first.counts()
    busy = pytest.raises(WarehouseBusyError, match=r"more than 0.3 s")
    with busy, warehouse(file, lock_timeout=0.3) as second:
        second.counts()
    release = threading.Timer(0.5, first.__exit__, (None, None, None))
    release.start()
    with warehouse(file, lock_timeout=20) as opened:
        opened.land([DOCUMENT], raw_lines(run(DOCUMENT)), provenance=provenance())
    release.join()


def test_another_dataset_in_the_same_file_is_untouched(tmp_path: Path, connect: Any) -> None:
    file = tmp_path / "warehouse.duckdb"
    land(file, [DOCUMENT], raw_lines(run(DOCUMENT)))
    connect(conn_type="duckdb", host=str(file))
    with open_warehouse("warehouse_test", "other") as opened:
        assert opened.counts() == {}
        found = opened.unlanded([DOCUMENT], workflow_id="workflow_invoices", version=None)
        assert list(found) == [UnlandedDocument(DOCUMENT)]
    with open_warehouse("warehouse_test", "extend") as opened:
        assert opened.counts()["invoices"] == 1


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, extend_pipeline.warehouse; print({'duckdb', 'airflow', 'pyarrow'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
