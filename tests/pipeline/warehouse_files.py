"""Opening warehouses in tests, and what stands in them apart from the times of loading."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import duckdb

from extend_pipeline.documents import Document
from extend_pipeline.warehouse import Landing, Provenance, Warehouse
from extend_pipeline.warehouse.duckdb_warehouse import DuckDBWarehouse
from extend_pipeline.warehouse.postgres import Postgres
from extend_pipeline.warehouse.remote_warehouse import RemoteWarehouse
from extend_pipeline.warehouse.sql import TYPES, quoted
from extend_pipeline.warehouse.table_plan import ColumnType
from fixtures.postgres import Database
from pipeline.warehouse_runs import WORKFLOW

#: A DuckDB file, or a database of Postgres.
Place = Path | Database

DATASET = "extend"
#: Columns that tell of a load rather than of a document.
OF_THE_LOAD = ("landed_at", "rows_by_table")
OF_THE_LEDGER = ("started_at", "ended_at", "applied_at", *OF_THE_LOAD)


@overload
def warehouse(place: Path, **options: Any) -> DuckDBWarehouse: ...
@overload
def warehouse(place: Database, **options: Any) -> RemoteWarehouse: ...
def warehouse(place: Place, **options: Any) -> Warehouse:
    """Return the warehouse at this place, not open yet."""
    if isinstance(place, Database):
        return RemoteWarehouse(Postgres(f"Postgres {place.name}", place.parameters), DATASET, **options)
    return DuckDBWarehouse(place, DATASET, conn_id="warehouse_test", **options)


def provenance(batch_id: str | None = "batch_1", **changes: Any) -> Provenance:
    """Return where a part of the test comes from."""
    return Provenance(workflow_id=WORKFLOW, batch_id=batch_id, **changes)


def land(
    place: Place, submission: Iterable[Document], raw: Iterable[bytes], *, origin: Provenance | None = None
) -> Landing:
    """Open the warehouse, land a part, close the warehouse."""
    with warehouse(place) as opened:
        return opened.land(submission, raw, provenance=origin or provenance())


def query(place: Place, sql: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
    """Run a query of DuckDB's dialect on what is in the dataset."""
    with _reader(place) as connection:
        return connection.execute(sql, parameters).fetchall()


def contents(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    """Return all tables' rows, sorted, without what tells of the load or the layout."""
    with _reader(place) as connection:
        tables = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = ? "
            "AND NOT starts_with(table_name, '_')",
            [DATASET],
        ).fetchall()
        return {
            table: sorted(
                connection.execute(f'SELECT {but(*_times(table))} FROM "{table}"').fetchall(), key=repr
            )
            for (table,) in tables
        }


@contextlib.contextmanager
def _reader(place: Place) -> Iterator[duckdb.DuckDBPyConnection]:
    if isinstance(place, Database):
        opened = duckdb.connect()
        _mirror(place, opened)
    else:
        opened = duckdb.connect(str(place), read_only=True)
    with opened as connection:
        connection.execute(f"SET schema = '{DATASET}'")
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _mirror(database: Database, connection: duckdb.DuckDBPyConnection) -> None:
    """Copy the dataset, so that one query asks the same of either place."""
    connection.execute(f"CREATE SCHEMA {DATASET}")
    with database.connect(options="-c timezone=UTC") as source:
        tables: dict[str, dict[str, str]] = {}
        for table, column, word in source.execute(
            """SELECT relname, attname, format_type(atttypid, atttypmod)
               FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
               WHERE relnamespace = %s::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
               ORDER BY relname, attnum""",
            [DATASET],
        ):
            tables.setdefault(table, {})[column] = word
        for table, columns in tables.items():
            target = f"{DATASET}.{quoted(table)}"
            types = {column: _DUCKDB_WORDS.get(word, word) for column, word in columns.items()}
            defined = ", ".join(f"{quoted(column)} {word}" for column, word in types.items())
            connection.execute(f"CREATE TABLE {target} ({defined})")
            texts = ", ".join(f"{quoted(column)}::text" for column in columns)
            rows = source.execute(f"SELECT {texts} FROM {target}".encode()).fetchall()
            jsons = [word == TYPES[ColumnType.JSON] for word in types.values()]
            places = ", ".join(f"?::{word}" for word in types.values())
            if rows:
                connection.executemany(
                    f"INSERT INTO {target} VALUES ({places})",
                    [[_compact(v) if j else v for v, j in zip(row, jsons, strict=True)] for row in rows],
                )


def _compact(text: str | None) -> str | None:
    return text and json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


_DUCKDB_WORDS = {"text": "VARCHAR", "jsonb": "JSON", "json": "JSON", "double precision": "DOUBLE"}


def but(*columns: str) -> str:
    """Return a select list of all columns but these."""
    return f"COLUMNS(lambda name: name NOT IN {columns})"


def _times(table: str) -> tuple[str, ...]:
    return OF_THE_LEDGER if table == "loads" else OF_THE_LOAD
