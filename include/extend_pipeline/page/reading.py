"""A pipeline's warehouse, open for reading: a snapshot of a DuckDB file, or the warehouse behind a network.

The DuckDB file itself is never opened: only one process at a time can, and that is the one that lands.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.schema import migrations

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from extend_pipeline.page.pipelines import KnownPipeline
    from extend_pipeline.warehouse.session import Session
    from extend_pipeline.warehouse.sql import Columns

log = logging.getLogger(__name__)

#: The longest that a statement may take, in seconds; a page that waits longer has been left.
STATEMENT_SECONDS: Final = 10.0
_SNAPSHOT_CONFIG: Final[dict[str, Any]] = {
    "memory_limit": "256MB",
    "threads": 2,
    "enable_external_access": False,
}
_FIGURES: Final = "Shown is what the last runs have counted."


class UnreadableError(Exception):
    """The warehouse cannot be read here; the message says why and what to do, to anybody."""


class NothingLandedError(Exception):
    """There are no documents yet."""


class Reading:
    """An open warehouse.

    :ivar tables: the dataset's tables with their columns.
    :ivar as_of: the time of the data.
    """

    def __init__(self, session: Session, tables: dict[str, Columns], as_of: dt.datetime) -> None:
        self.session = session
        self.tables = tables
        self.as_of = as_of


@contextlib.contextmanager
def opened(pipeline: KnownPipeline) -> Iterator[Reading]:
    """Open a pipeline's warehouse for the block.

    :raises UnreadableError: if it cannot be read from here, or a statement of the block fails.
    :raises NothingLandedError: if it has no documents.
    """
    connection = _connection(pipeline.record.warehouse_conn_id)
    started = time.monotonic()
    try:
        with _session(connection, pipeline.record.dataset) as (session, as_of):
            tables = session.columns(pipeline.record.dataset)
            migrations.version(session, pipeline.record.dataset, tables)
            if not {"documents", "loads"} <= tables.keys():
                raise NothingLandedError
            yield Reading(session, tables, as_of)
    except (WarehouseError, ImportError, OSError) as error:
        log.warning("The page could not read the warehouse of %s: %s", pipeline.dag_id, error)
        took_long = time.monotonic() - started >= STATEMENT_SECONDS
        raise UnreadableError(
            _too_slow(connection.conn_id) if took_long else _unreadable(connection.conn_id, error)
        ) from None


def _connection(conn_id: str) -> Connection:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise UnreadableError(
            f"The API server does not know the connection {conn_id!r}; workers do. To see documents here, "
            f"add it where the API server finds it, with rights to read alone if you like. {_FIGURES}"
        ) from None


@contextlib.contextmanager
def _session(connection: Connection, dataset: str) -> Iterator[tuple[Session, dt.datetime]]:
    from extend_pipeline.warehouse.open import open_warehouse
    from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse

    if connection.conn_type == "duckdb":
        with _snapshot(connection) as found:
            yield found
        return
    warehouse = open_warehouse(connection.conn_id, dataset)
    if not isinstance(warehouse, RemoteWarehouse):
        raise WarehouseError("no warehouse that several can read")
    warehouse.read_only(STATEMENT_SECONDS)
    with warehouse:
        yield warehouse.session(f"Page on {warehouse.name}"), dt.datetime.now(dt.UTC)


@contextlib.contextmanager
def _snapshot(connection: Connection) -> Iterator[tuple[Session, dt.datetime]]:
    import duckdb

    from extend_pipeline.warehouse.destinations.duckdb import snapshot_path
    from extend_pipeline.warehouse.session import Session

    path = snapshot_path(connection)
    if path is None:
        raise UnreadableError(
            "A DuckDB file can be open in one process only, so the page reads a copy. Name one in the extra "
            f"of the connection {connection.conn_id!r}, for example "
            f'{{"snapshot": "/data/warehouse.read.duckdb"}}; each run updates it. {_FIGURES}'
        )
    as_of = _changed(path, connection.conn_id)
    try:
        database = duckdb.connect(str(path), read_only=True, config=_SNAPSHOT_CONFIG)
    except duckdb.Error as error:
        log.warning("The page could not open %s: %s", path, error)
        raise UnreadableError(_unreadable(connection.conn_id, error)) from None
    timer = threading.Timer(STATEMENT_SECONDS, database.interrupt)
    timer.daemon = True
    timer.start()
    try:
        database.execute("SET TimeZone = 'UTC'")
        yield Session(database, f"Page on {path}"), as_of
    finally:
        timer.cancel()
        database.close()


def _changed(path: Path, conn_id: str) -> dt.datetime:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except OSError:
        raise UnreadableError(
            f"The copy of the warehouse that connection {conn_id!r} names is not on the API server. If no "
            "run has ended yet, the first one makes it; otherwise it has to lie on a disk that workers and "
            f"API server share. {_FIGURES}"
        ) from None


def _too_slow(conn_id: str) -> str:
    return (
        f"The warehouse of connection {conn_id!r} has not answered within {STATEMENT_SECONDS:g} seconds, so "
        f"the page has given up. It may be busy or asleep; try again in a minute. {_FIGURES}"
    )


def _unreadable(conn_id: str, error: BaseException) -> str:
    """Return what everybody may know: not the error's own text, which names servers and users."""
    return (
        f"The API server cannot read the warehouse of connection {conn_id!r} ({type(error).__name__}); its "
        f"log says why. It needs the driver, the network, and the right to read the dataset. {_FIGURES}"
    )
