"""Snowflake as a destination: Parquet through a stage, all rows of a part in one transaction.

A statement that makes something ends a Snowflake transaction, so tables, columns and views are made before
it begins. Nothing locks a dataset: only the pool keeps several runs from planning or landing at once.
"""

from __future__ import annotations

import itertools
import math
import string
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.connections import DUCKDB, numbers, require
from extend_pipeline.warehouse.remote.destination import Destination
from extend_pipeline.warehouse.remote.dialect import Dialect
from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse
from extend_pipeline.warehouse.session import PAGE_ROWS, WITHHELD, Page, Session
from extend_pipeline.warehouse.sql import Columns, ColumnType, by_table, literal, numbered_texts, quoted

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from snowflake.connector import SnowflakeConnection

EXPERIMENTAL: Final = ""
#: Extra fields that Snowflake's connector takes under the same name.
_EXTRA_FIELDS: Final = (
    *("account", "database", "warehouse", "role", "region", "host", "port", "protocol"),
    *("authenticator", "token", "private_key_file", "private_key_file_pwd"),
)
TYPES: Final[Mapping[ColumnType, str]] = {
    ColumnType.TEXT: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.DECIMAL: "DECIMAL(38, 9)",
    ColumnType.DOUBLE: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP_TZ",
    ColumnType.JSON: "VARIANT",
}
#: The catalog's names of the types; numbers differ by their scale.
_KINDS: Final = {
    "TEXT": ColumnType.TEXT,
    "FLOAT": ColumnType.DOUBLE,
    "BOOLEAN": ColumnType.BOOLEAN,
    "DATE": ColumnType.DATE,
    "TIMESTAMP_TZ": ColumnType.TIMESTAMP,
    "VARIANT": ColumnType.JSON,
}
_NUMBERS: Final = {0: ColumnType.INTEGER, 9: ColumnType.DECIMAL}
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SETTINGS: Final = {
    "TIMEZONE": "UTC",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF6TZH:TZM",
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "DATE_INPUT_FORMAT": "AUTO",
}
_STAGE: Final = "EXTEND_STAGE"
#: Error numbers whose messages name rights and objects, and never contain a value.
_OF_THE_SERVER: Final = (2003, 2043, 3001, 390201, 606, 90105)


class Snowflake(Destination):
    """See :class:`extend_pipeline.warehouse.remote.destination.Destination`.

    :param parameters: of ``snowflake.connector.connect``, secrets among them.
    """

    dialect = Dialect("snowflake", TYPES, upper_case=True)

    def __init__(self, name: str, parameters: Mapping[str, Any]) -> None:
        super().__init__(name)
        self._parameters = parameters
        self._connection: SnowflakeConnection | None = None
        self._numbers = itertools.count()
        self._writing = self._staged = False
        self._limits: dict[str, int] = {}

    def read_only(self, seconds: float) -> None:
        """See :meth:`Destination.read_only`; what may be written is a matter of the role."""
        self._limits = {"STATEMENT_TIMEOUT_IN_SECONDS": math.ceil(seconds)}

    def open(self) -> None:
        import snowflake.connector

        fault = ""
        try:
            self._connection = snowflake.connector.connect(
                **self._parameters, session_parameters={**_SETTINGS, **self._limits}
            )
        except snowflake.connector.errors.Error as error:
            fault = f"{type(error).__name__} ({error.errno})"
        if fault:
            raise WarehouseError(
                f"{self.name} cannot be opened: {fault}. Check account, user, secret, role and warehouse."
            )

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, sql: str) -> Any:
        return self.connected(self._connection).cursor().execute(sql)

    def pages(self, sql: str) -> Iterator[Page]:
        if sql.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            if self._writing and not sql.startswith("BEGIN"):
                self._writing = False
                self._execute(sql)
            return
        cursor = self._execute(sql)
        if not sql.startswith(("SELECT", "WITH")):
            yield [(cursor.rowcount,)]
            return
        while page := cursor.fetchmany(PAGE_ROWS):
            yield page

    def start_writing(self) -> None:
        self._execute("BEGIN")
        self._writing = True

    def columns(self, dataset: str) -> dict[str, Columns]:
        found = self._execute(
            "SELECT c.table_name, c.column_name, c.data_type, c.numeric_scale "
            "FROM information_schema.columns AS c JOIN information_schema.tables AS t "
            "ON t.table_schema = c.table_schema AND t.table_name = c.table_name "
            f"WHERE c.table_schema = {literal(self.dialect.identifier(dataset))} "
            "AND t.table_type = 'BASE TABLE' ORDER BY c.table_name, c.ordinal_position"
        ).fetchall()
        return by_table(
            (
                table.translate(_LOWER),
                column.translate(_LOWER),
                _NUMBERS.get(scale) if word == "NUMBER" else _KINDS.get(word),
            )
            for table, column, word, scale in found
        )

    def make_schema(self, dataset: str) -> None:
        """Create the schema unless it exists, and use it: temporary tables and stages need a schema."""
        schema = quoted(self.dialect.identifier(dataset))
        known = literal(self.dialect.identifier(dataset))
        if not self._execute(
            f"SELECT 1 FROM information_schema.schemata WHERE schema_name = {known}"
        ).fetchall():
            self._execute(f"CREATE SCHEMA {schema}")
        self._execute(f"USE SCHEMA {schema}")

    def lock(self, dataset: str) -> None:
        """Use the schema. Snowflake has no lock for it: only the pool keeps other runs out."""
        self.make_schema(dataset)

    def temporary(self, columns: Columns) -> str:
        if not self._staged:
            self._execute(f"CREATE OR REPLACE TEMPORARY STAGE {_STAGE}")
            self._staged = True
        name = f"extend_{next(self._numbers)}"
        defined = ", ".join(
            f"{quoted(self.dialect.identifier(column))} {TYPES[kind]}" for column, kind in columns.items()
        )
        self._execute(
            f"CREATE OR REPLACE TEMPORARY TABLE {quoted(self.dialect.identifier(name))} ({defined})"
        )
        return quoted(name)

    def append(self, table: str, columns: Columns, rows: Session, query: str, file: Path) -> None:
        """See :meth:`Destination.append`; values go as text, which means the same on both sides."""
        # Snowflake skips a file name that it has loaded before.
        parquet = file.with_name(f"{uuid.uuid4()}.parquet")
        rows.export(f"SELECT {numbered_texts(columns)} FROM ({query})", parquet)
        self._execute(f"PUT 'file://{parquet}' @{_STAGE} AUTO_COMPRESS = FALSE OVERWRITE = TRUE")
        parquet.unlink()
        typed = ", ".join(_typed(f"$1:c{n}::VARCHAR", kind) for n, kind in enumerate(columns.values()))
        target = ", ".join(quoted(self.dialect.identifier(column)) for column in columns)
        self._execute(
            f"COPY INTO {self.dialect.identifier(table)} ({target}) "
            f"FROM (SELECT {typed} FROM @{_STAGE}/{parquet.name}) FILE_FORMAT = (TYPE = PARQUET) FORCE = TRUE"
        )

    def as_text(self, column: str, kind: ColumnType) -> str:
        """See :meth:`Destination.as_text`; a variant's own text leaves the quotes of a string out."""
        plain = f"CAST({quoted(column)} AS VARCHAR)"
        return f"CAST(to_json({quoted(column)}) AS VARCHAR)" if kind is ColumnType.JSON else plain

    def views(self, dataset: str) -> dict[str, str]:
        rows = self._execute(
            "SELECT table_name, comment FROM information_schema.tables "
            f"WHERE table_schema = {literal(self.dialect.identifier(dataset))} AND table_type = 'VIEW'"
        ).fetchall()
        return {name.translate(_LOWER): comment or "" for name, comment in rows}

    def make_view(self, dataset: str, view: str, statement: str, mark: str) -> None:
        self._execute(statement)
        name = ".".join(quoted(self.dialect.identifier(each)) for each in (dataset, view))
        self._execute(f"COMMENT ON VIEW {name} IS {literal(mark)}")

    def fault(self, error: Exception) -> tuple[str, str] | None:
        from snowflake.connector import errors

        if not isinstance(error, errors.Error):
            return None
        says = f" {error.raw_msg}" if error.errno in _OF_THE_SERVER else ""
        return f"{type(error).__name__} ({error.errno})", f"{WITHHELD}{says}"


def open_warehouse(connection: Connection, dataset: str) -> RemoteWarehouse:
    """Return the Snowflake database that a connection of Airflow's type ``snowflake`` names.

    Extra fields: ``account``, ``database``, ``warehouse``, ``role``, ``region``, ``host``, ``authenticator``,
    ``token``, ``private_key_file`` and its password in ``private_key_file_pwd``, or the connection's own;
    ``memory_limit_mb`` (default 128) and ``threads`` (default 1).
    """
    require(connection, "snowflake", "snowflake.connector", "sqlglot")
    extra = connection.extra_dejson
    given = {name: extra[name] for name in _EXTRA_FIELDS if extra.get(name)}
    if not given.get("database"):
        raise WarehouseError(f"Connection {connection.conn_id!r} needs the extra field 'database'.")
    if connection.login:
        given["user"] = connection.login
    if connection.password:
        secret = "private_key_file_pwd" if "private_key_file" in given else "password"
        given[secret] = connection.password
    name = f"Snowflake {given['database']} (connection {connection.conn_id!r})"
    return RemoteWarehouse(Snowflake(name, given), dataset, **numbers(connection, *DUCKDB))


def _typed(text: str, kind: ColumnType) -> str:
    if kind is ColumnType.TEXT:
        return text
    return f"PARSE_JSON({text})" if kind is ColumnType.JSON else f"CAST({text} AS {TYPES[kind]})"
