"""Opening warehouse files in tests, and what stands in them apart from the times of loading."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from extend_pipeline.documents import Document
from extend_pipeline.warehouse import Landing, Provenance
from extend_pipeline.warehouse.duckdb_warehouse import DuckDBWarehouse
from pipeline.warehouse_runs import WORKFLOW

DATASET = "extend"
#: Columns that tell of a load rather than of a document.
OF_THE_LOAD = ("landed_at", "rows_by_table")
OF_THE_LEDGER = ("started_at", "ended_at", *OF_THE_LOAD)


def warehouse(path: Path, **options: Any) -> DuckDBWarehouse:
    """Return the warehouse in this file, not open yet."""
    return DuckDBWarehouse(path, DATASET, conn_id="warehouse_test", **options)


def provenance(batch_id: str | None = "batch_1", **changes: Any) -> Provenance:
    """Return where a part of the test comes from."""
    return Provenance(workflow_id=WORKFLOW, batch_id=batch_id, **changes)


def land(
    path: Path, submission: Iterable[Document], raw: Iterable[bytes], *, origin: Provenance | None = None
) -> Landing:
    """Open the file, land a part, close the file."""
    with warehouse(path) as opened:
        return opened.land(submission, raw, provenance=origin or provenance())


def query(path: Path, sql: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
    """Open the file, run a query in the dataset, close the file."""
    with _reader(path) as connection:
        return connection.execute(sql, parameters).fetchall()


def contents(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all tables' rows, sorted, without what tells of the load."""
    with _reader(path) as connection:
        tables = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = ?", [DATASET]
        ).fetchall()
        return {
            table: sorted(
                connection.execute(f'SELECT {but(*_times(table))} FROM "{table}"').fetchall(), key=repr
            )
            for (table,) in tables
        }


@contextlib.contextmanager
def _reader(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute(f"SET schema = '{DATASET}'")
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def but(*columns: str) -> str:
    """Return a select list of all columns but these."""
    return f"COLUMNS(lambda name: name NOT IN {columns})"


def _times(table: str) -> tuple[str, ...]:
    return OF_THE_LEDGER if table == "loads" else OF_THE_LOAD
