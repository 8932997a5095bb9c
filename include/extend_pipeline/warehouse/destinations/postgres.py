"""Postgres as a destination: one transaction for everything, COPY for rows, an advisory lock for writers.

A pooler (PgBouncer in transaction mode, RDS Proxy) may give each transaction another server connection. So
nothing outlives a transaction: settings, temporary tables and cursors end with it, and no statement is
prepared. A query outside a transaction runs in a transaction of its own.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.destinations import postgres_rights
from extend_pipeline.warehouse.queries.seen import INDEXED
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.connections import DUCKDB, numbers, require
from extend_pipeline.warehouse.remote.destination import Destination, buffered
from extend_pipeline.warehouse.remote.dialect import Dialect
from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse
from extend_pipeline.warehouse.schema.tables import KEY, WAITING
from extend_pipeline.warehouse.session import PAGE_ROWS, WITHHELD, Page, Session
from extend_pipeline.warehouse.sql import Columns, ColumnType, by_table, literal, names, quoted

if TYPE_CHECKING:
    from airflow.sdk import Connection as AirflowConnection
    from psycopg import Connection, Cursor

EXPERIMENTAL: Final = ""
TYPES: Final[Mapping[ColumnType, str]] = {
    ColumnType.TEXT: "text",
    ColumnType.INTEGER: "bigint",
    ColumnType.DECIMAL: "numeric(38,9)",
    ColumnType.DOUBLE: "double precision",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.DATE: "date",
    ColumnType.TIMESTAMP: "timestamp with time zone",
    ColumnType.JSON: "jsonb",
}
_KINDS: Final = {word: kind for kind, word in TYPES.items()}
_TEMPORARY: Final = "pg_temp."
_CHUNK_BYTES: Final = 1 << 20
#: How values are written, how names are found, and how long anything may take, whatever the defaults of the
#: role, the database, or the session that the pooler's connection served before. What row-level security
#: would hide is an error: a document that is not seen would be sent, and paid for, again.
_SETTINGS: Final = {
    "timezone": "'UTC'",
    "datestyle": "'ISO, YMD'",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "row_security": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
#: The same, of newer servers, by the number of the version that they came with.
_NEWER_SETTINGS: Final = {170000: {"transaction_timeout": "0"}}
#: Puts ``pg_catalog`` first, so that no other schema's type or function of the same name is used.
_SYSTEM_FIRST: Final = """SELECT set_config('search_path', 'pg_catalog' || coalesce(
    ', ' || nullif(nullif(current_setting('search_path'), ''), '""'), ''), true)"""
#: Classes of SQLSTATE whose messages name the server, rights and objects, and never contain a value.
_OF_THE_SERVER: Final = ("08", "25", "28", "3D", "42", "53", "55", "57")
_REMEDIES: Final = {
    "42501": "Grant it to the connection's user, who must own the dataset's tables.",
    "25006": "Connect to the primary, or set default_transaction_read_only to off for the role.",
    "42P10": "A publication may contain only some of the table's columns. Deletes need all of them.",
    "55000": "A published table has no replica identity: ALTER TABLE … REPLICA IDENTITY FULL.",
    "55P03": "Another transaction holds a lock on it, see pg_locks. End it, then clear the task.",
    "2BP01": "Another view depends on it.",
    "0A000": "A view may use that column. Drop the view, clear the task, create the view again.",
    "54000": "An index entry or a row exceeds a limit of Postgres.",
}
#: Unique indexes, and columns with an index: no load reads a whole table.
_UNIQUE: Final = {"documents": tuple(KEY), "runs": ("run_id",), "loads": ("part",)}
_INDEXED: Final = ("document_id", "run_id")
#: Indexes for ``queries.seen``, whose conditions and order these repeat; without them, each of its questions
#: reads a million rows (measured: 0.3 to 1 s, and with them 10 to 100 ms). An entry of an index may have
#: 2,704 bytes, and an address more, so its beginning is indexed.
_LOOKED_FOR: Final = {
    "documents_landed_idx": "(landed_at DESC NULLS LAST)",
    "documents_dead_idx": "(landed_at DESC NULLS LAST) WHERE status IN ('FAILED', 'CANCELLED')",
    "documents_waiting_idx": (f"(landed_at) WHERE status = 'NEEDS_REVIEW' OR approval = {literal(WAITING)}"),
    "documents_uri_idx": f'("left"(uri, {INDEXED}) text_pattern_ops)',
    "documents_name_idx": f'("left"(name, {INDEXED}) text_pattern_ops)',
}


class Postgres(Destination):
    """See :class:`extend_pipeline.warehouse.remote.destination.Destination`.

    :param parameters: libpq's, the password among them.
    :param lock_timeout: seconds to wait while another run writes to the dataset.
    """

    # A row has to fit into 8 kB, and each value keeps up to 24 bytes in it (a longer one moves out).
    dialect = Dialect("postgres", TYPES, holds_nul=False, widest=300)
    undoes_tables = True

    def __init__(self, name: str, parameters: Mapping[str, Any], *, lock_timeout: float = 120) -> None:
        super().__init__(name)
        self._parameters = parameters
        self._lock_timeout = lock_timeout
        self._connection: Connection[tuple[Any, ...]] | None = None
        self._begun = False
        self._numbers = itertools.count()
        self._limits: dict[str, str] = {}

    def read_only(self, seconds: float) -> None:
        self._limits = {"transaction_read_only": "on", "statement_timeout": f"{seconds * 1000:.0f}"}

    def open(self) -> None:
        import psycopg

        reason = ""
        try:
            self._connection = psycopg.connect(
                **{"application_name": "extend_pipeline", **self._parameters},
                client_encoding="utf8",
                autocommit=True,
                prepare_threshold=None,
            )
        except psycopg.Error as error:
            reason = " ".join(str(error).split())
        if reason:
            password = str(self._parameters.get("password") or "")
            raise WarehouseError(
                f"{self.name} cannot be opened: {reason.replace(password, '***') if password else reason}"
            )
        encoding = self._session.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise WarehouseError(f"{self.name} is encoded in {encoding}; only UTF8 holds every document.")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection, self._begun = None, False

    @property
    def _session(self) -> Connection[tuple[Any, ...]]:
        return self.connected(self._connection)

    def _begin(self) -> None:
        """Begin a transaction with our settings; reconnect if the connection was lost since the last one."""
        import psycopg

        settings = dict(_SETTINGS)
        for version, more in _NEWER_SETTINGS.items():
            settings |= more if self._session.info.server_version >= version else {}
        settings["lock_timeout"] = f"{self._lock_timeout * 1000:.0f}"
        settings |= self._limits
        locally = (f"SET LOCAL {name} TO {value}" for name, value in settings.items())
        begin = "; ".join(["BEGIN", *locally, _SYSTEM_FIRST]).encode()
        try:
            self._session.execute(begin)
        except psycopg.OperationalError:
            if not self._session.closed:  # a transaction is open already, or a setting is refused
                raise
            self.open()
            self._session.execute(begin)
        self._begun = True

    def _end(self, how: str) -> None:
        self._begun = False
        self._session.execute(how.encode())

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection[tuple[Any, ...]]]:
        """Yield the connection in the open transaction, or else in a new one."""
        import psycopg

        if self._begun:
            yield self._session
            return
        self._begin()
        try:
            yield self._session
            self._end("COMMIT")
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                self._end("ROLLBACK")
            raise

    def _asked(self, sql: str, parameters: Sequence[object] = ()) -> Cursor[tuple[Any, ...]]:
        with self._transaction() as session:
            return session.execute(sql.encode(), parameters or None)

    def pages(self, sql: str) -> Iterator[Page]:
        if sql.startswith("BEGIN"):
            self._begin()
        elif sql.startswith(("COMMIT", "ROLLBACK")):
            self._end(sql)
        elif sql.startswith(("SELECT", "WITH")):
            yield from buffered(self._fetched(sql))
        else:
            cursor = self._asked(sql)
            if cursor.rowcount >= 0:
                yield [(cursor.rowcount,)]

    def _fetched(self, sql: str) -> Iterator[Page]:
        with self._transaction() as session, session.cursor(f"extend_{next(self._numbers)}") as rows:
            rows.execute(sql.encode())
            while page := rows.fetchmany(PAGE_ROWS):
                yield page

    def columns(self, dataset: str) -> dict[str, Columns]:
        found = self._asked(
            """SELECT relation.relname, attribute.attname,
                      format_type(attribute.atttypid, attribute.atttypmod)
               FROM pg_class AS relation
               JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid
               WHERE relation.relnamespace = to_regnamespace(quote_ident(%s))
                 AND relation.relkind IN ('r', 'p') AND attribute.attnum > 0 AND NOT attribute.attisdropped
               ORDER BY relation.relname, attribute.attnum""",
            [dataset],
        )
        return by_table((table, column, _KINDS.get(word)) for table, column, word in found)

    def objections(self, dataset: str) -> Iterator[str]:
        def ask(sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
            return self._asked(sql, parameters).fetchall()

        yield from postgres_rights.objections(ask, dataset, self.columns(dataset))

    def make_schema(self, dataset: str) -> None:
        """Create the schema unless it exists: CREATE SCHEMA needs a right even if the schema exists."""
        ((known,),) = self._asked("SELECT to_regnamespace(quote_ident(%s))", [dataset]).fetchall()
        if known is None:
            self._asked(f"CREATE SCHEMA {quoted(dataset)}")

    def lock(self, dataset: str) -> None:
        from psycopg.errors import LockNotAvailable

        try:
            self._asked(
                "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"extend_pipeline/{dataset}"]
            )
        except LockNotAvailable:
            raise self.busy(dataset, self._lock_timeout) from None

    def temporary(self, columns: Columns) -> str:
        name = f"extend_{next(self._numbers)}"
        defined = ", ".join(f"{quoted(column)} {TYPES[kind]}" for column, kind in columns.items())
        self._asked(f"CREATE TEMPORARY TABLE {quoted(name)} ({defined}) ON COMMIT DROP")
        return f"{_TEMPORARY}{quoted(name)}"

    def append(self, table: str, columns: Columns, rows: Session, query: str, file: Path) -> None:
        ((count,),) = rows.rows(
            "export", f"COPY ({query}) TO {literal(str(file))} (FORMAT csv, HEADER false, FORCE_QUOTE *)"
        )
        into = f"COPY {table} ({names(columns)}) FROM STDIN (FORMAT csv)"
        with file.open("rb") as lines, self._session.cursor() as cursor:
            with cursor.copy(into.encode()) as copy:
                while chunk := lines.read(_CHUNK_BYTES):
                    copy.write(chunk)
            written = cursor.rowcount
        file.unlink()
        if written != count:
            raise WarehouseError(
                f"{self.name}: {table} took {written} of {count} rows; a trigger discards the others. "
                "The transaction was rolled back. Drop the trigger, or change it so that it keeps all rows."
            )
        if table.startswith(_TEMPORARY):
            key = "document_id" if "document_id" in columns else next(iter(columns))
            self._asked(f"CREATE INDEX ON {table} ({quoted(key)})")
            self._asked(f"ANALYZE {table}")
        elif written and not self._is_analysed(table):
            self._asked(f"ANALYZE {table}")

    def _is_analysed(self, table: str) -> bool:
        """Return False for a table without statistics, which autovacuum makes a minute later, or never.

        Postgres then expects one row of a workflow in it, and compares each row with every key of a part.
        """
        sql = "SELECT reltuples > 0 FROM pg_class WHERE oid = to_regclass(%s)"
        return (True,) in self._asked(sql, [table]).fetchall()

    def views(self, dataset: str) -> dict[str, str]:
        rows = self._asked(
            """SELECT relname, coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class
               WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relkind = 'v'""",
            [dataset],
        )
        return dict(rows.fetchall())

    def make_view(self, dataset: str, view: str, statement: str, mark: str) -> None:
        """See :meth:`Destination.make_view`; a view whose columns have changed is dropped first."""
        import psycopg

        name = f"{quoted(dataset)}.{quoted(view)}"
        with self._transaction() as session:
            try:
                with session.transaction():
                    session.execute(statement.encode())
            except psycopg.errors.InvalidTableDefinition:
                session.execute(f"DROP VIEW {name}".encode())
                session.execute(statement.encode())
            session.execute(f"COMMENT ON VIEW {name} IS {literal(mark)}".encode())

    def after_creating(self, dataset: str, table: str, columns: Columns) -> None:
        """Index key columns; set a replica identity, so that a publication of all tables allows deletes."""
        target = f"{quoted(dataset)}.{quoted(table)}"
        self._asked(f"ALTER TABLE {target} REPLICA IDENTITY FULL")
        if table in _UNIQUE:
            self._asked(f"CREATE UNIQUE INDEX ON {target} ({names(_UNIQUE[table])})")
        for column in _INDEXED:
            leading = _UNIQUE.get(table, ("",))[0]
            if column in columns and column != leading:
                self._asked(f"CREATE INDEX ON {target} ({quoted(column)})")
        if table == "documents":
            self.index_documents(dataset)

    def index_documents(self, dataset: str) -> None:
        """See :meth:`Destination.index_documents`."""
        for name, definition in _LOOKED_FOR.items():
            target = f"{quoted(dataset)}.documents {definition}"
            self._asked(f"CREATE INDEX IF NOT EXISTS {name} ON {target}")

    def index(self, dataset: str, table: str, column: str) -> None:
        """See :meth:`Destination.index`; the name is the one that Postgres would give it."""
        name = quoted(f"{table}_{column}_idx")
        target = f"{quoted(dataset)}.{quoted(table)} ({quoted(column)})"
        self._asked(f"CREATE INDEX IF NOT EXISTS {name} ON {target}")

    def fault(self, error: Exception) -> tuple[str, str] | None:
        import psycopg

        if not isinstance(error, psycopg.Error):
            return None
        state = error.sqlstate or ""
        says = f" {error.diag.message_primary}." if state.startswith(_OF_THE_SERVER) else ""
        if not state:
            return type(error).__name__, "The server may be down. Clear the task to try again."
        return f"{type(error).__name__} ({state})", f"{_REMEDIES.get(state, WITHHELD)}{says}"


def open_warehouse(connection: AirflowConnection, dataset: str) -> RemoteWarehouse:
    """Return the Postgres database that a connection of Airflow's type ``postgres`` names.

    Extra fields: libpq's own (``sslmode``, ``sslrootcert``, ``options``, …); ``memory_limit_mb``
    (default 128) and ``threads`` (default 1) of the DuckDB that prepares rows; ``lock_timeout`` (seconds
    to wait while another run plans or lands, default 120).
    """
    require(connection, "postgres", "psycopg", "sqlglot")
    fields = {
        "host": connection.host,
        "port": connection.port,
        "dbname": connection.schema,
        "user": connection.login,
        "password": connection.password,
    }
    given = {name: value for name, value in fields.items() if value}
    port, database = connection.port and f":{connection.port}", connection.schema and f"/{connection.schema}"
    address = f"{connection.host or ''}{port or ''}{database or ''}"
    destination = Postgres(
        f"Postgres {address} (connection {connection.conn_id!r})",
        {**_libpq_parameters(connection.extra_dejson), **given},
        **numbers(connection, "lock_timeout"),
    )
    return RemoteWarehouse(destination, dataset, **numbers(connection, *DUCKDB))


def _libpq_parameters(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the extra fields of a connection that are libpq's, such as ``sslmode`` and ``options``."""
    from psycopg import pq

    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    return {name: value for name, value in extra.items() if name in known}
