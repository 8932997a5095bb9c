"""DuckDB: reads the connection to a file, which one process at a time can open."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.connections import DUCKDB, numbers
from extend_pipeline.warehouse.sql import quoted

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse

EXPERIMENTAL: Final = ""
#: The schemas of a DuckDB file in which documents have landed.
_DATASETS: Final = """
    SELECT schema_name FROM duckdb_tables() WHERE table_name IN ('documents', 'loads')
    GROUP BY schema_name HAVING count(*) = 2 ORDER BY schema_name
"""
_SAME_FILE: Final = "This is what the API server sees; tasks have to find the file at the same path."
#: The scheme of an address; it has two letters at least, because a single one may be a drive.
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_OTHER_TYPE: Final = "For another warehouse, use a connection of its type."
_INSTEAD_OF_SCHEME: Final = {
    **dict.fromkeys(("file", "duckdb"), "Leave the scheme out."),
    **dict.fromkeys(("md", "motherduck"), "MotherDuck is not a destination yet."),
    **dict.fromkeys(("postgres", "postgresql", "mysql", "sqlite", "ducklake", "snowflake"), _OTHER_TYPE),
}


def open_warehouse(connection: Connection, dataset: str) -> DuckDBWarehouse:
    """Return the DuckDB file that is the connection's host; ``~`` and ``$VARIABLES`` in it are expanded.

    Extra fields: ``memory_limit_mb`` (default 256), ``threads`` (default 1), ``lock_timeout`` (seconds
    to wait while another process has the file open, default 120), ``snapshot`` (the path of a copy
    for readers, updated after each run; none by default).
    """
    from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse

    path, copy = duckdb_path(connection), snapshot_path(connection)
    options = numbers(connection, *DUCKDB, "lock_timeout")
    return DuckDBWarehouse(path, dataset, conn_id=connection.conn_id, snapshot=copy, **options)


def publish_snapshot(connection: Connection, dataset: str) -> None:
    """Update the snapshot of the file, if the connection has one.

    :raises WarehouseError: if that fails.
    """
    if connection.extra_dejson.get("snapshot"):
        with open_warehouse(connection, dataset) as warehouse:
            warehouse.publish()


def describe(connection: Connection) -> str:
    """Open the file for reading on the API server; return its size and its datasets.

    :raises WarehouseError: if it cannot be read, or cannot be made.
    """
    path = duckdb_path(connection)
    if not path.exists():
        if not path.parent.is_dir():
            raise WarehouseError(f"There is no folder {path.parent} on the API server. {_SAME_FILE}")
        return f"There is no file {path} yet; the first load makes it. {_SAME_FILE}"
    try:
        import duckdb
    except ImportError:
        raise WarehouseError(
            "duckdb is not installed on the API server: install the extra 'pipeline'."
        ) from None

    try:
        with duckdb.connect(str(path), read_only=True) as opened:
            datasets = [name for (name,) in opened.execute(_DATASETS).fetchall()]
            counts = [_documents(opened, name) for name in datasets]
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise WarehouseError(
                f"{path} is open in another process, a running load for example: {error}"
            ) from None
        raise WarehouseError(f"{path} cannot be opened: {error}") from None
    except duckdb.Error as error:
        raise WarehouseError(f"{path} cannot be opened: {error}") from None
    found = [f"{name!r} with {count:,} documents" for name, count in zip(datasets, counts, strict=True)]
    contents = f"datasets: {', '.join(found)}" if found else "no dataset yet: the first load makes it"
    return f"{path}: {path.stat().st_size / 1_000_000:,.1f} MB; {contents}."


def _documents(connection: Any, dataset: str) -> int:
    ((count,),) = connection.execute(f"SELECT count(*) FROM {quoted(dataset)}.documents").fetchall()
    return int(count)


def duckdb_path(connection: Connection) -> Path:
    """Return the DuckDB file that a connection names.

    :raises WarehouseError: if the connection names no file.
    """
    host = (connection.host or "").strip()
    if not host and connection.schema:
        raise WarehouseError(
            f"Connection {connection.conn_id!r} has its path in the schema field. The path of a DuckDB file "
            "is the host; in a connection URI its slashes are written %2F: duckdb://%2Fdata%2Fwarehouse.duckdb."
        )
    if not host or host.startswith(":"):
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs the path of a DuckDB file as its host."
        )
    return _local_path(connection, "the host", host)


def snapshot_path(connection: Connection) -> Path | None:
    """Return the copy for readers that a connection names; None if it names none.

    :raises WarehouseError: if it is the warehouse itself.
    """
    snapshot = connection.extra_dejson.get("snapshot")
    if not snapshot:
        return None
    copy = _local_path(connection, "extra field snapshot", str(snapshot))
    if copy == duckdb_path(connection):
        raise WarehouseError(
            f"Connection {connection.conn_id!r}: extra field snapshot={snapshot!r} is the warehouse itself."
        )
    return copy


def _local_path(connection: Connection, field: str, value: str) -> Path:
    """Return the file that a field names; ``~`` and ``$VARIABLES`` in it are expanded.

    :raises WarehouseError: if it is an address or a folder: DuckDB writes local files only.
    """
    expanded = os.path.expandvars(value.strip())
    where = f"Connection {connection.conn_id!r}: {field}"
    if scheme := _SCHEME.match(expanded):
        remedy = _INSTEAD_OF_SCHEME.get(scheme[1].lower(), "DuckDB writes local files only.")
        raise WarehouseError(
            f"{where} begins with {scheme[1]}:, but must be the path of a file, such as "
            f"/data/warehouse.duckdb. {remedy}"
        )
    path = Path(expanded).expanduser().absolute()
    if path.is_dir():
        raise WarehouseError(f"{where} is the folder {path}; name a file in it.")
    return path
