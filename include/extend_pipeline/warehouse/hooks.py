"""Hooks of the connection types that documents land through, for Airflow's forms and their *Test* button.

Airflow imports this module on servers that may lack the drivers, which only the tests import. Where an
official provider is installed, it registers its connection type itself, and its own hook is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow.providers.common.compat.sdk import BaseHook

if TYPE_CHECKING:
    from pathlib import Path

#: The schemas of a DuckDB file in which documents have landed.
_DATASETS: Final = """
    SELECT schema_name FROM duckdb_tables() WHERE table_name IN ('documents', 'loads')
    GROUP BY schema_name HAVING count(*) = 2 ORDER BY schema_name
"""


class WarehouseHook(BaseHook):
    """Tests a connection to a warehouse.

    :param conn_id: the connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "warehouse_default"

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Connect, and look for what has landed in the dataset ``extend``; nothing is made or changed."""
        from extend_pipeline.warehouse import WarehouseError, open_warehouse
        from extend_pipeline.warehouse.destinations import module_for

        try:
            with open_warehouse(self.conn_id, "extend") as warehouse:
                counts = warehouse.counts()
        except WarehouseError as error:
            return False, str(error)
        destination = module_for(self.get_connection(self.conn_id).conn_type or "")
        note = destination.EXPERIMENTAL if destination else ""
        experimental = f" This kind of warehouse is experimental. {note}" if note else ""
        if "documents" not in counts:
            found = "There is no dataset 'extend' yet; a DAG's first load makes its dataset."
        else:
            found = f"Dataset 'extend': {counts['documents']:,} documents."
        return True, f"Connected. {found}{experimental}"


class DuckDBFileHook(WarehouseHook):
    """Tests a connection to a DuckDB file."""

    conn_type = "duckdb"
    hook_name = "DuckDB file"

    def test_connection(self) -> tuple[bool, str]:
        """Open the file for reading on the API server; report its size and its datasets."""
        from extend_pipeline.warehouse import WarehouseError
        from extend_pipeline.warehouse.destinations.duckdb import duckdb_path

        try:
            path = duckdb_path(self.get_connection(self.conn_id))
        except WarehouseError as error:
            return False, str(error)
        if path.exists():
            return _test_file(path)
        folder = path.parent
        if not folder.is_dir():
            return False, f"There is no folder {folder} on the API server. {_SAME_FILE}"
        return True, f"There is no file {path} yet; the first load makes it. {_SAME_FILE}"


_SAME_FILE: Final = "This is what the API server sees; tasks have to find the file at the same path."


def _test_file(path: Path) -> tuple[bool, str]:
    try:
        import duckdb
    except ImportError:
        return False, "duckdb is not installed on the API server: install the extra 'pipeline'."

    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            datasets = [name for (name,) in connection.execute(_DATASETS).fetchall()]
            counts = [_documents(connection, name) for name in datasets]
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            return False, f"{path} is open in another process, a running load for example: {error}"
        return False, f"{path} cannot be opened: {error}"
    except duckdb.Error as error:
        return False, f"{path} cannot be opened: {error}"
    found = [f"{name!r} with {count:,} documents" for name, count in zip(datasets, counts, strict=True)]
    contents = f"datasets: {', '.join(found)}" if found else "no dataset yet: the first load makes it"
    return True, f"{path}: {path.stat().st_size / 1_000_000:,.1f} MB; {contents}."


def _documents(connection: Any, dataset: str) -> int:
    from extend_pipeline.warehouse.sql import quoted

    question = f"SELECT count(*) FROM {quoted(dataset)}.documents"
    ((count,),) = connection.execute(question).fetchall()
    return int(count)


class PostgresWarehouseHook(WarehouseHook):
    """Tests a connection to Postgres."""

    conn_type = "postgres"
    hook_name = "Postgres"


class SnowflakeWarehouseHook(WarehouseHook):
    """Tests a connection to Snowflake."""

    conn_type = "snowflake"
    hook_name = "Snowflake"


class DatabricksWarehouseHook(WarehouseHook):
    """Tests a connection to Databricks."""

    conn_type = "databricks"
    hook_name = "Databricks"


class BigQueryWarehouseHook(WarehouseHook):
    """Tests a connection to BigQuery."""

    conn_type = "google_cloud_platform"
    hook_name = "Google Cloud"
