"""Redshift as a destination: one transaction for everything, Parquet files in S3, a locked table.

Redshift descends from Postgres 8 and is not Postgres: text ends at 65,535 bytes, a column's type cannot be
changed, booleans and text are not cast to each other, and only tables can be locked.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.connections import DUCKDB, numbers, require
from extend_pipeline.warehouse.remote.destination import Destination, buffered
from extend_pipeline.warehouse.remote.dialect import Dialect
from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse
from extend_pipeline.warehouse.session import WITHHELD, Page, Session
from extend_pipeline.warehouse.sql import TYPES as OURS
from extend_pipeline.warehouse.sql import (
    Columns,
    ColumnType,
    by_table,
    literal,
    names,
    numbered_texts,
    quoted,
)

if TYPE_CHECKING:
    from airflow.sdk import Connection as AirflowConnection
    from redshift_connector.core import Connection
    from redshift_connector.cursor import Cursor

EXPERIMENTAL: Final = (
    "It was tested with a Postgres behind Redshift's own driver, and never with Redshift itself."
)
#: Bytes that a text may have.
LONGEST: Final = 65_535
TYPES: Final[Mapping[ColumnType, str]] = {
    ColumnType.TEXT: f"VARCHAR({LONGEST})",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.DECIMAL: "DECIMAL(38, 9)",
    ColumnType.DOUBLE: "DOUBLE PRECISION",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    ColumnType.JSON: "SUPER",
}
#: What the catalog calls them.
_KINDS: Final = {
    f"character varying({LONGEST})": ColumnType.TEXT,
    "bigint": ColumnType.INTEGER,
    "numeric(38,9)": ColumnType.DECIMAL,
    "double precision": ColumnType.DOUBLE,
    "boolean": ColumnType.BOOLEAN,
    "date": ColumnType.DATE,
    "timestamp with time zone": ColumnType.TIMESTAMP,
    "super": ColumnType.JSON,
}
#: How values are written, whatever the role's defaults are.
_SETTINGS: Final = {"timezone": "UTC", "datestyle": "ISO, YMD", "extra_float_digits": "2"}
#: Rows per FETCH: the maximum on a cluster of one node.
_FETCHED: Final = 1_000
#: A table that is never read, so that locking it keeps out other writers and no readers.
_LOCK: Final = "_lock"
_STAGED: Final = quoted("extend_staged")
_WIDENED: Final = quoted("_widened")
_TIMED_OUT: Final = "57014"
#: Classes of SQLSTATE whose messages name the server, rights and objects, and never contain a value.
_OF_THE_SERVER: Final = ("08", "0A", "25", "28", "3D", "42", "53", "57")
_REMEDIES: Final = {
    "42501": "Grant it to the connection's user, who must own the dataset's tables.",
    "0A000": "The column may be the table's sort or distribution key: "
    "ALTER TABLE … ALTER SORTKEY NONE, … ALTER DISTSTYLE EVEN, then clear the task.",
    "2BP01": "Another view depends on it. Drop the view, clear the task, create the view again.",
    "XX000": "See SYS_LOAD_ERROR_DETAIL and SYS_QUERY_HISTORY. The role must be able to read the staging "
    "folder. After a conflict with another transaction, clear the task.",
}


class Redshift(Destination):
    """See :class:`extend_pipeline.warehouse.remote.destination.Destination`.

    :param connect: opens a connection of ``redshift_connector``.
    :param staging: a folder in S3, ``s3://connection@bucket/path``, that rows pass through.
    :param iam_role: the role with which Redshift reads it, or ``default``.
    :param lock_timeout: seconds to wait while another run writes to the dataset.
    """

    dialect = Dialect("redshift", TYPES, holds_nul=False, widest=1_500, longest=LONGEST)

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        *,
        staging: str,
        iam_role: str,
        lock_timeout: float = 120,
    ) -> None:
        super().__init__(name)
        self._connect = connect
        self._staging = staging
        self._role = "DEFAULT" if iam_role == "default" else literal(iam_role)
        self._lock_timeout = lock_timeout
        self._connection: Connection | None = None
        self._begun = False
        self._numbers = itertools.count()
        self._limits: dict[str, str] = {}

    def read_only(self, seconds: float) -> None:
        """See :meth:`Destination.read_only`; what may be written is a matter of the user's rights."""
        self._limits = {"statement_timeout": f"{seconds * 1000:.0f}"}

    def open(self) -> None:
        from redshift_connector.error import Error

        reason = ""
        try:
            self._connection = self._connect()
            self._connection.autocommit = True
            for name, value in {**_SETTINGS, **self._limits}.items():
                self._execute(f"SET {name} TO {literal(value)}")
        except (Error, OSError) as error:
            reason = (
                _field(error, "M") or f"{type(error).__name__}: the cluster may be unreachable from here."
            )
        if reason:
            self.close()
            raise WarehouseError(f"{self.name} cannot be opened: {reason}")

    def close(self) -> None:
        from redshift_connector.error import Error

        connection, self._connection, self._begun = self._connection, None, False
        if connection is not None:
            with contextlib.suppress(Error, OSError):  # the connection may be lost already
                connection.close()

    def _execute(self, sql: str) -> Cursor:
        return self.connected(self._connection).cursor().execute(sql)

    def pages(self, sql: str) -> Iterator[Page]:
        """See :meth:`Destination.pages`.

        The driver holds a whole result in memory, and a session has one cursor at a time: so rows are fetched
        through a cursor and kept in a file.
        """
        if not sql.startswith(("SELECT", "WITH")):
            cursor = self._execute(sql)
            if sql.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
                self._begun = sql.startswith("BEGIN")
            elif cursor.rowcount >= 0:
                yield [(cursor.rowcount,)]
            return
        yield from buffered(self._fetched(sql))

    def _fetched(self, sql: str) -> Iterator[Page]:
        begun = self._begun
        if not begun:
            self._execute("BEGIN")
        try:
            self._execute(f"DECLARE extend_rows CURSOR FOR {sql}")
            while rows := self._execute(f"FETCH FORWARD {_FETCHED} FROM extend_rows").fetchall():
                yield [tuple(row) for row in rows]
            self._execute("CLOSE extend_rows")
        finally:
            if not begun:
                self._execute("ROLLBACK")

    def columns(self, dataset: str) -> dict[str, Columns]:
        found = self._execute(
            "SELECT relation.relname, attribute.attname, "
            "format_type(attribute.atttypid, attribute.atttypmod) "
            "FROM pg_class AS relation JOIN pg_namespace AS space ON space.oid = relation.relnamespace "
            "JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid "
            f"WHERE space.nspname = {literal(dataset)} AND relation.relkind = 'r' "
            "AND attribute.attnum > 0 AND NOT attribute.attisdropped "
            f"AND relation.relname <> {literal(_LOCK)} ORDER BY relation.relname, attribute.attnum"
        ).fetchall()
        return by_table((table, column, _KINDS.get(word)) for table, column, word in found)

    def make_schema(self, dataset: str) -> None:
        """Create the schema unless it exists: CREATE SCHEMA needs a right even if the schema exists."""
        known = f"SELECT 1 FROM pg_namespace WHERE nspname = {literal(dataset)}"
        if not self._execute(known).fetchall():
            self._execute(f"CREATE SCHEMA {quoted(dataset)}")

    def lock(self, dataset: str) -> None:
        """See :meth:`Destination.lock`.

        A transaction sees the data as of its first query, so that query must come after the lock.
        """
        from redshift_connector.error import Error

        table = f"{quoted(dataset)}.{quoted(_LOCK)}"
        self._execute("ROLLBACK")  # ends what is open, so that the new table is committed before it is locked
        self.make_schema(dataset)
        self._execute(f"CREATE TABLE IF NOT EXISTS {table} (nothing BOOLEAN)")
        self._execute("BEGIN")
        self._execute(f"SET statement_timeout TO {self._lock_timeout * 1000:.0f}")
        busy = False
        try:
            self._execute(f"LOCK TABLE {table}")
        except Error as error:
            busy = _field(error, "C") == _TIMED_OUT
            if not busy:
                raise
        if busy:
            raise self.busy(dataset, self._lock_timeout)
        self._execute("RESET statement_timeout")

    def temporary(self, columns: Columns) -> str:
        name = quoted(f"extend_{next(self._numbers)}")
        defined = ", ".join(f"{quoted(column)} {TYPES[kind]}" for column, kind in columns.items())
        self._execute(f"CREATE TEMPORARY TABLE {name} ({defined})")
        return name

    def append(self, table: str, columns: Columns, rows: Session, query: str, file: Path) -> None:
        """See :meth:`Destination.append`; values go as text, which means the same on both sides."""
        if rows.export(f"SELECT {numbered_texts(columns)} FROM ({query})", file):
            defined = ", ".join(f"c{n} {TYPES[ColumnType.TEXT]}" for n in range(len(columns)))
            typed = ", ".join(_typed(f"c{n}", kind) for n, kind in enumerate(columns.values()))
            with self._staged(file) as address:
                self._execute(f"CREATE TEMPORARY TABLE {_STAGED} ({defined})")
                self._execute(
                    f"COPY {_STAGED} FROM {literal(address)} IAM_ROLE {self._role} FORMAT AS PARQUET"
                )
                self._execute(f"INSERT INTO {table} ({names(columns)}) SELECT {typed} FROM {_STAGED}")
                self._execute(f"DROP TABLE {_STAGED}")
        file.unlink()

    @contextlib.contextmanager
    def _staged(self, file: Path) -> Iterator[str]:
        """Upload a file to the staging folder; yield its address."""
        from airflow.sdk import ObjectStoragePath

        # COPY reads every object whose key begins with the given address.
        staged = ObjectStoragePath(self._staging) / f"{uuid.uuid4()}.parquet"
        staged.fs.put_file(str(file), staged.path)
        try:
            yield f"s3://{staged.path}"
        finally:
            staged.unlink()

    def as_text(self, column: str, kind: ColumnType) -> str:
        name = quoted(column)
        if kind is ColumnType.BOOLEAN:
            return f"CASE WHEN {name} THEN 'true' WHEN NOT {name} THEN 'false' END"
        if kind is ColumnType.JSON:
            return f"CASE WHEN {name} IS NOT NULL THEN json_serialize({name}) END"
        return super().as_text(column, kind)

    def widening(self, table: str, column: str, kind: ColumnType) -> Sequence[str]:
        """See :meth:`Destination.widening`; a new column replaces the old one."""
        name, word = quoted(column), OURS[kind]
        return (
            f"ALTER TABLE {table} ADD COLUMN {_WIDENED} {word}",
            f"UPDATE {table} SET {_WIDENED} = CAST({name} AS {word})",
            f"ALTER TABLE {table} DROP COLUMN {name}",
            f"ALTER TABLE {table} RENAME COLUMN {_WIDENED} TO {name}",
        )

    def views(self, dataset: str) -> dict[str, str]:
        rows = self._execute(
            "SELECT relation.relname, coalesce(obj_description(relation.oid, 'pg_class'), '') "
            "FROM pg_class AS relation JOIN pg_namespace AS space ON space.oid = relation.relnamespace "
            f"WHERE space.nspname = {literal(dataset)} AND relation.relkind = 'v'"
        ).fetchall()
        return dict(rows)

    def make_view(self, dataset: str, view: str, statement: str, mark: str) -> None:
        """See :meth:`Destination.make_view`; Redshift cannot replace a view whose columns have changed."""
        name = f"{quoted(dataset)}.{quoted(view)}"
        self._execute(f"DROP VIEW IF EXISTS {name}")
        self._execute(statement)
        self._execute(f"COMMENT ON VIEW {name} IS {literal(mark)}")

    def fault(self, error: Exception) -> tuple[str, str] | None:
        from redshift_connector.error import Error

        if not isinstance(error, (Error, ConnectionError, TimeoutError)):
            return None
        state = _field(error, "C")
        if not state:
            return type(error).__name__, "The cluster may be down. Clear the task to try again."
        says = f" {_field(error, 'M')}." if state.startswith(_OF_THE_SERVER) else ""
        return f"{type(error).__name__} ({state})", f"{_REMEDIES.get(state, WITHHELD)}{says}"


def open_warehouse(connection: AirflowConnection, dataset: str) -> RemoteWarehouse:
    """Return the Redshift database that a connection of Airflow's type ``redshift`` names.

    Extra fields: ``staging`` (a folder in S3 that rows pass through, ``s3://connection@bucket/path``),
    ``iam_role`` (with which Redshift reads it; ``default`` is the cluster's own), and the arguments of
    ``redshift_connector.connect`` (``iam``, ``cluster_identifier``, ``is_serverless``, ``region``,
    ``sslmode``, …); ``memory_limit_mb``, ``threads`` and ``lock_timeout`` as for Postgres.
    """
    require(connection, "redshift", "redshift_connector", "sqlglot")
    import redshift_connector

    extra = connection.extra_dejson
    staging, iam_role = str(extra.get("staging") or ""), str(extra.get("iam_role") or "")
    if not staging.startswith("s3://") or not iam_role:
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs the extra fields 'staging' "
            "(s3://connection@bucket/path, for the files that are loaded) and 'iam_role' (the role with "
            "which Redshift reads it, or 'default')."
        )
    known = inspect.signature(redshift_connector.connect).parameters
    given: dict[str, Any] = {name: value for name, value in extra.items() if name in known}
    fields = {
        "host": connection.host,
        "port": connection.port,
        "database": connection.schema,
        "user": connection.login,
        "password": connection.password,
    }
    given |= {name: value for name, value in fields.items() if value}
    given["max_prepared_statements"] = 0  # no statement is repeated
    destination = Redshift(
        f"Redshift {connection.host or ''}/{connection.schema or ''} (connection {connection.conn_id!r})",
        lambda: redshift_connector.connect(**given),
        staging=staging,
        iam_role=iam_role,
        **numbers(connection, "lock_timeout"),
    )
    return RemoteWarehouse(destination, dataset, **numbers(connection, *DUCKDB))


def _field(error: Exception, field: str) -> str:
    """Return a field of the server's answer: ``C``, its SQLSTATE, or ``M``, its message."""
    answer: Any = error.args[0] if error.args else None
    return str(answer.get(field, "")) if isinstance(answer, dict) else ""


def _typed(text: str, kind: ColumnType) -> str:
    if kind is ColumnType.TEXT:
        return text
    if kind is ColumnType.BOOLEAN:
        return f"{text} = 'true'"
    return f"JSON_PARSE({text})" if kind is ColumnType.JSON else f"CAST({text} AS {TYPES[kind]})"
