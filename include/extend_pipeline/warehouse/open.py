"""From an Airflow connection to a warehouse."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from extend_pipeline.connection_types import DESTINATIONS
from extend_pipeline.warehouse.destinations import duckdb, module_for
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from extend_pipeline.warehouse.api import Warehouse

log = logging.getLogger(__name__)

#: Lower case, because engines treat unquoted capitals differently.
_DATASET: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
#: Schemas that belong to the engines themselves.
_RESERVED_DATASETS: Final = frozenset({"information_schema", "pg_catalog", "pg_toast", "system", "temp"})


def open_warehouse(conn_id: str, dataset: str) -> Warehouse:
    """Return the warehouse that the Airflow connection ``conn_id`` names; use it as a context manager.

    :param dataset: the schema that the tables live in; made on the first load.
    :raises WarehouseError: if the connection's type or settings, or the dataset's name, do not fit.
    """
    from airflow.sdk import BaseHook

    if not _DATASET.fullmatch(dataset) or dataset in _RESERVED_DATASETS:
        raise WarehouseError(
            f"dataset={dataset!r} cannot name a schema: use at most 63 lower-case letters, digits and "
            "underscores, the first not a digit, and no name that the engines keep for themselves."
        )
    connection = BaseHook.get_connection(conn_id)
    destination = module_for(connection.conn_type or "")
    if destination is None:
        raise WarehouseError(_no_warehouse(connection))
    if destination.EXPERIMENTAL:
        log.warning(
            "Connection %r: this kind of warehouse is experimental. %s", conn_id, destination.EXPERIMENTAL
        )
    return destination.open_warehouse(connection, dataset)


def publish_snapshot(conn_id: str, dataset: str) -> None:
    """Let readers see what has landed; call it once at the end of a run.

    A DuckDB file, which cannot be read while it is written, is copied. Of a large dataset in another
    warehouse, the counts are kept that the page in Airflow shows; if that fails, the log says so, and the
    page shows those of the run before.

    :raises WarehouseError: if the copy failed.
    """
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    if connection.conn_type == "duckdb":
        duckdb.publish_snapshot(connection, dataset)
        return
    try:
        with open_warehouse(conn_id, dataset) as warehouse:
            if isinstance(warehouse, RemoteWarehouse):
                warehouse.keep_counts()
    except WarehouseError as error:
        log.warning("The counts for the page in Airflow are as old as the run before: %s", error)


def _no_warehouse(connection: Connection) -> str:
    """Return why documents cannot land through this type of connection, and what to do."""
    conn_id, types = connection.conn_id, ", ".join(sorted(DESTINATIONS))
    if connection.conn_type == "generic":
        return (
            f"Connection {conn_id!r} is of type 'generic': `airflow connections add` stores that in place "
            "of a type that no installed provider registers. Install airflow-provider-extend where that "
            f"command runs, then `airflow connections delete {conn_id}`, and add it with its type: {types}."
        )
    return (
        f"Connection {conn_id!r} is of type {connection.conn_type!r}; "
        f"documents can land through connections of type {types}."
    )
