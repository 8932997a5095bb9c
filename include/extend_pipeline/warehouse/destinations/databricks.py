"""Databricks as a destination: Unity Catalog, a SQL warehouse, Parquet by way of a volume, one transaction.

Statements go to the Statement Execution API, which has no sessions. In place of a temporary table there is a
table named ``_staged_…``, which is dropped afterwards, or by a later run if its own was killed. All rows of a
part are changed by one statement, ``BEGIN ATOMIC … END``, which needs managed tables with catalog commits.
Nothing locks a dataset: only the pool keeps several runs from planning or landing at once.

The SDK sends a statement again when its answer is lost: none of these does harm by running twice.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.destinations.databricks_api import SqlWarehouse, credentials, fault
from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.connections import DUCKDB, numbers, require
from extend_pipeline.warehouse.remote.destination import Destination
from extend_pipeline.warehouse.remote.dialect import Dialect
from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse
from extend_pipeline.warehouse.session import Page, Session
from extend_pipeline.warehouse.sql import TYPES as OURS
from extend_pipeline.warehouse.sql import Columns, ColumnType, by_table, literal, names, quoted

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.mixins.files import FilesExt

EXPERIMENTAL: Final = "It was tested with Databricks' own SDK on minilake, and never with Databricks itself."
#: The id of a SQL warehouse in its address.
_HTTP_PATH: Final = re.compile(r"/sql/[\d.]+/(?:warehouses|endpoints)/([^/?]+)")
TYPES: Final[Mapping[ColumnType, str]] = {
    ColumnType.TEXT: "STRING",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.DECIMAL: "DECIMAL(38, 9)",
    ColumnType.DOUBLE: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP",
    ColumnType.JSON: "VARIANT",
}
#: What the catalog calls them.
_KINDS: Final = {word.lower().replace(" ", ""): kind for kind, word in TYPES.items()}
#: Each table of a transaction over several tables needs this.
_PROPERTIES: Final = "TBLPROPERTIES ('delta.feature.catalogManaged' = 'supported')"
#: Bytes that a text may have: a VARIANT ends at 16 MiB.
LONGEST: Final = 16_000_000
_STAGED: Final = "_staged_"
#: Older staged tables and files belong to tasks that have died.
_STALE: Final = timedelta(days=1)
_TIME: Final = "%Y%m%d%H%M%S"
_MOMENT: Final = literal("%Y-%m-%dT%H:%M:%S.%fZ")


class Databricks(Destination):
    """See :class:`extend_pipeline.warehouse.remote.destination.Destination`.

    :param connect: makes a client of the workspace.
    :param warehouse_id: the SQL warehouse.
    :param catalog: in which the datasets are schemas.
    :param staging: a folder in a volume, ``/Volumes/catalog/schema/volume/…``, that rows pass through.
    """

    dialect = Dialect("databricks", TYPES, longest=LONGEST, every_year=False)

    def __init__(
        self,
        name: str,
        connect: Callable[[], WorkspaceClient],
        *,
        warehouse_id: str,
        catalog: str,
        staging: str,
    ) -> None:
        super().__init__(name)
        self._connect = connect
        self._warehouse_id = warehouse_id
        self._catalog = catalog
        self._staging = staging.rstrip("/")
        self._workspace: WorkspaceClient | None = None
        self._warehouse: SqlWarehouse | None = None
        self._schema = ""
        self._staged: list[str] = []
        self._writes: list[str] | None = None
        self._seconds: float | None = None

    # the connection

    def read_only(self, seconds: float) -> None:
        """See :meth:`Destination.read_only`; what may be written is a matter of rights."""
        self._seconds = seconds

    def open(self) -> None:
        """See :meth:`Destination.open`; wakes the SQL warehouse up."""
        reason = ""
        try:
            self._workspace = self._connect()
            self._warehouse = SqlWarehouse(self._workspace, self._warehouse_id, self._catalog, self._seconds)
            self._warehouse.execute("SELECT 1")
        except ValueError:  # the SDK's message would quote all settings, secrets too
            reason = "The settings do not fit together. Check host, login, password and extra fields."
        except Exception as error:
            known = fault(error)
            if known is None:
                raise
            reason = " ".join(known)
        if reason:
            self._workspace = self._warehouse = None
            raise WarehouseError(f"{self.name} cannot be opened: {reason}")

    def close(self) -> None:
        if self._workspace is not None:
            self._writes = None
            self._drop_staged()
            self._workspace = self._warehouse = None

    @property
    def _sql(self) -> SqlWarehouse:
        return self.connected(self._warehouse)

    @property
    def _files(self) -> FilesExt:
        return self.connected(self._workspace).files

    def fault(self, error: Exception) -> tuple[str, str] | None:
        return fault(error)

    # statements

    def _asked(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query of DuckDB's dialect that has few rows."""
        return [row for page in self._sql.fetched(self.dialect.transpiled(sql)) for row in page]

    def pages(self, sql: str) -> Iterator[Page]:
        verb = sql.split(maxsplit=1)[0]
        if verb in ("COMMIT", "ROLLBACK"):
            self._end(commit=verb == "COMMIT")
        elif verb in ("SELECT", "WITH"):
            yield from self._sql.fetched(sql)
        elif self._writes is not None:
            self._writes.append(sql)
        elif verb != "BEGIN":
            answer = self._sql.execute(_made(sql))
            changed = answer.result.data_array if answer.result else None
            if changed:
                yield [(int(changed[0][0]),)]

    def start_writing(self) -> None:
        """See :meth:`Destination.start_writing`; statements that follow are collected until the commit."""
        self._writes = []

    def _end(self, *, commit: bool) -> None:
        writes, self._writes = self._writes, None
        if commit and writes:
            self._sql.execute(_block("BEGIN ATOMIC", writes))
        self._drop_staged()

    # what there is

    def columns(self, dataset: str) -> dict[str, Columns]:
        found = self._asked(
            "SELECT c.table_name, c.column_name, c.full_data_type "
            "FROM information_schema.columns AS c JOIN information_schema.tables AS t "
            "ON t.table_catalog = c.table_catalog AND t.table_schema = c.table_schema "
            "AND t.table_name = c.table_name "
            f"WHERE c.table_catalog = {literal(self._catalog)} AND c.table_schema = {literal(dataset)} "
            "AND t.table_type IN ('MANAGED', 'EXTERNAL') ORDER BY c.table_name, c.ordinal_position"
        )
        return by_table(
            (table, column, _KINDS.get(word.lower().replace(" ", "")))
            for table, column, word in found
            if not table.startswith(_STAGED)
        )

    def make_schema(self, dataset: str) -> None:
        """Create the schema unless it exists: CREATE SCHEMA needs a right even if the schema exists."""
        if not self._asked(
            "SELECT 1 FROM information_schema.schemata "
            f"WHERE catalog_name = {literal(self._catalog)} AND schema_name = {literal(dataset)}"
        ):
            self._sql.execute(self.dialect.transpiled(f"CREATE SCHEMA IF NOT EXISTS {quoted(dataset)}"))

    def views(self, dataset: str) -> dict[str, str]:
        rows = self._asked(
            "SELECT table_name, comment FROM information_schema.tables "
            f"WHERE table_catalog = {literal(self._catalog)} AND table_schema = {literal(dataset)} "
            "AND table_type = 'VIEW'"
        )
        return {name: comment or "" for name, comment in rows}

    def make_view(self, dataset: str, view: str, statement: str, mark: str) -> None:
        head, as_, query = statement.partition(" AS ")
        self._sql.execute(f"{head} COMMENT {literal(mark)}{as_}{query}")

    def lock(self, dataset: str) -> None:
        """Use the schema, and delete what killed tasks have staged. Only the pool keeps other runs out."""
        self.make_schema(dataset)
        self._schema = dataset
        self._files.create_directory(self._staging)
        oldest = f"{_STAGED}{(datetime.now(UTC) - _STALE).strftime(_TIME)}"
        for (name,) in self._asked(
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_catalog = {literal(self._catalog)} AND table_schema = {literal(dataset)}"
        ):
            if name.startswith(_STAGED) and name < oldest:
                self._staged.append(f"{quoted(dataset)}.{quoted(name)}")
        for entry in self._files.list_directory_contents(self._staging):
            if (entry.name or "").startswith(_STAGED) and (entry.name or "") < oldest:
                self._files.delete(entry.path or "")

    # rows

    def temporary(self, columns: Columns) -> str:
        """Return the name of a table that :meth:`append` makes."""
        return self._new_staged()

    def append(self, table: str, columns: Columns, rows: Session, query: str, file: Path) -> None:
        """See :meth:`Destination.append`; values go as text, which means the same on both sides."""
        texts = ", ".join(
            f"{_exported(quoted(column), kind)} AS c{n}" for n, (column, kind) in enumerate(columns.items())
        )
        count = rows.export(f"SELECT {texts} FROM ({query})", file)
        if table in self._staged:
            self._stage(table, columns, file)
        elif count:
            staged = self._new_staged()
            self._stage(staged, columns, file)
            insert = f"INSERT INTO {table} ({names(columns)}) SELECT {names(columns)} FROM {staged}"
            list(self.pages(self.dialect.transpiled(insert)))
        file.unlink()

    def _new_staged(self) -> str:
        name = f"{_STAGED}{datetime.now(UTC).strftime(_TIME)}_{uuid.uuid4().hex}"
        self._staged.append(f"{quoted(self._schema)}.{quoted(name)}")
        return self._staged[-1]

    def _stage(self, table: str, columns: Columns, file: Path) -> None:
        """Make a table of the rows in a file, in one statement."""
        texts = ", ".join(f"c{n} STRING" for n in range(len(columns)))
        typed = ", ".join(
            f"{_typed(f'c{n}', kind)} AS {quoted(column)}" for n, (column, kind) in enumerate(columns.items())
        )
        name = table.rpartition(".")[2].strip('"')
        path = f"{self._staging}/{name}.parquet"
        with file.open("rb") as contents:
            self._files.upload(path, contents, overwrite=True, use_parallel=False)
        try:
            made = self.dialect.transpiled(
                f"CREATE OR REPLACE TABLE {table} AS SELECT {typed} FROM "
                f"read_files({literal(path)}, format => 'parquet', schema => {literal(texts)})"
            )
            self._sql.execute(_made(made))
        finally:
            self._files.delete(path)

    def _drop_staged(self) -> None:
        """Drop staged tables; :meth:`lock` of a later run drops those that cannot be dropped now."""
        staged, self._staged = self._staged, []
        if staged:
            drops = [self.dialect.transpiled(f"DROP TABLE IF EXISTS {table}") for table in staged]
            try:
                self._sql.execute(_block("BEGIN", drops))
            except Exception as error:
                if fault(error) is None:
                    raise

    def as_text(self, column: str, kind: ColumnType) -> str:
        """See :meth:`Destination.as_text`; a CAST would lose a time's offset."""
        if kind is ColumnType.TIMESTAMP:
            return f"date_format({quoted(column)}, 'yyyy-MM-dd HH:mm:ss.SSSSSSXXX')"
        if kind is ColumnType.JSON:
            return f"to_json({quoted(column)})"
        return super().as_text(column, kind)

    def widening(self, table: str, column: str, kind: ColumnType) -> Sequence[str]:
        """See :meth:`Destination.widening`; Delta changes few types in place, so the table is rewritten."""
        name, word = quoted(column), OURS[kind]
        value = f"CAST({name} AS VARCHAR) || 'T00:00:00Z'" if kind is ColumnType.TIMESTAMP else name
        return (
            f"CREATE OR REPLACE TABLE {table} AS "
            f"SELECT * EXCLUDE ({name}), CAST({value} AS {word}) AS {name} FROM {table}",
        )


def open_warehouse(connection: Connection, dataset: str) -> RemoteWarehouse:
    """Return the Unity Catalog catalog that a connection of Airflow's type ``databricks`` names.

    The host is the workspace's address. A personal access token is the password, or extra field ``token``;
    with ``service_principal_oauth`` login and password are a service principal's client id and secret; with
    ``azure_tenant_id`` (and ``azure_resource_id``) those of one of Azure's. Other extra fields: ``http_path``
    of the SQL warehouse, ``catalog``, ``staging`` (a folder in a volume that rows pass through,
    ``/Volumes/catalog/schema/volume/…``); ``memory_limit_mb`` (default 128) and ``threads`` (default 1).
    """
    require(connection, "databricks", "databricks.sdk", "pyarrow", "sqlglot")
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    extra = connection.extra_dejson
    warehouse = _HTTP_PATH.search(str(extra.get("http_path") or ""))
    catalog, staging = str(extra.get("catalog") or ""), str(extra.get("staging") or "")
    if not connection.host or not warehouse or not catalog or not staging.startswith("/Volumes/"):
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs the workspace's address as its host, and the extra "
            "fields 'http_path' (/sql/1.0/warehouses/…), 'catalog' and 'staging' "
            "(/Volumes/catalog/schema/volume/…, for the files that are loaded)."
        )
    given = {"host": connection.host, "retry_timeout_seconds": 60, **credentials(connection)}
    destination = Databricks(
        f"Databricks {catalog} (connection {connection.conn_id!r})",
        lambda: WorkspaceClient(config=Config(**given)),
        warehouse_id=warehouse[1],
        catalog=catalog,
        staging=staging,
    )
    return RemoteWarehouse(destination, dataset, **numbers(connection, *DUCKDB))


def _made(sql: str) -> str:
    """Return the statement with the table properties that transactions need."""
    if not sql.startswith(("CREATE TABLE ", "CREATE OR REPLACE TABLE ")):
        return sql
    head, as_, query = sql.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1).partition(" AS SELECT ")
    return f"{head} {_PROPERTIES}{as_}{query}"


def _block(opening: str, statements: Sequence[str]) -> str:
    return "\n".join([opening, *(f"{statement};" for statement in statements), "END"])


def _exported(column: str, kind: ColumnType) -> str:
    """Return the expression, in DuckDB's dialect, of a text that Databricks reads as the same value."""
    if kind is ColumnType.TIMESTAMP:
        return f"strftime({column} AT TIME ZONE 'UTC', {_MOMENT})"
    return f"CAST({column} AS VARCHAR)"


def _typed(text: str, kind: ColumnType) -> str:
    """Return the expression that makes a value of such a text; JSON that repeats a key stays a text."""
    if kind is ColumnType.TEXT:
        return text
    if kind is ColumnType.JSON:
        return f"coalesce(try_parse_json({text}), CAST({text} AS VARIANT))"
    return f"CAST({text} AS {OURS[kind]})"
