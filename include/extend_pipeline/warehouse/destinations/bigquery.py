"""BigQuery as a destination: Parquet is loaded into tables that expire; one transaction moves all rows.

A BigQuery transaction is one script. (A session could hold one, too, but a killed worker would leave the
session and its tables open for a day.) A transaction does not see what was made after it began, and makes no
permanent tables. So tables, columns and views are made first, rows are loaded into tables of their own, and
the statements that move the rows are collected and sent as one script. BigQuery has no lock on a dataset: the
pool lets one run at a time plan or land. If two still land at once, BigQuery cancels one.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.remote.connections import DUCKDB, numbers, require
from extend_pipeline.warehouse.remote.destination import Destination
from extend_pipeline.warehouse.remote.dialect import Dialect
from extend_pipeline.warehouse.remote.warehouse import RemoteWarehouse
from extend_pipeline.warehouse.session import PAGE_ROWS, WITHHELD, Page, Session
from extend_pipeline.warehouse.sql import TYPES as OURS
from extend_pipeline.warehouse.sql import Columns, ColumnType, literal, numbered_texts, quoted
from extend_pipeline.warehouse.sql import names as our_names

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from google.cloud.bigquery import Client, QueryJob, TableReference
    from google.cloud.bigquery.table import TableListItem
    from sqlglot import exp

EXPERIMENTAL: Final = (
    "It was tested with BigQuery's own client on bqemulator, and never with BigQuery itself."
)
TYPES: Final[Mapping[ColumnType, str]] = {
    ColumnType.TEXT: "STRING",
    ColumnType.INTEGER: "INT64",
    ColumnType.DECIMAL: "NUMERIC",
    ColumnType.DOUBLE: "FLOAT64",
    ColumnType.BOOLEAN: "BOOL",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMP",
    ColumnType.JSON: "JSON",
}
#: The API still uses older names for some types.
_OLD_NAMES: Final = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}
_KINDS: Final = {name: kind for kind, word in TYPES.items() for name in (word, _OLD_NAMES.get(word, word))}
#: Clustering columns, by which rows are found; generated tables have both.
_CLUSTERED: Final = ("document_id", "run_id")
_STAGED: Final = "_extend_"
#: How long staged rows stay if the task dies.
_EXPIRY: Final = timedelta(days=1)
#: Reasons whose messages name rights, objects and quotas, and never contain a value.
_OF_THE_SERVER: Final = frozenset(
    {"accessDenied", "billingNotEnabled", "notFound", "quotaExceeded", "rateLimitExceeded", "duplicate"}
)
_CONFLICT: Final = re.compile(r"due to concurrent (update|transaction)", re.IGNORECASE)
_PLACE: Final = re.compile(r" at \[(\d+):\d+\]")


def rewritten(node: exp.Expr) -> exp.Expr:
    """Return the node with what sqlglot translates wrongly for BigQuery corrected."""
    from sqlglot import exp

    if isinstance(node, exp.DataType) and node.is_type(exp.DType.DECIMAL):
        return exp.DataType.build(TYPES[ColumnType.DECIMAL], dialect="bigquery")
    if isinstance(node, exp.DateDiff):  # of timestamps; DuckDB counts the boundaries that are crossed
        unit = node.unit
        until, since = (exp.TimestampTrunc(this=each, unit=unit) for each in (node.this, node.expression))
        return exp.TimestampDiff(this=until, expression=since, unit=unit)
    if isinstance(node, exp.Chr) and node.sql() == "CHR(0)":  # sqlglot's translation is an empty text
        nul = exp.Array(expressions=node.expressions)
        return exp.Anonymous(this="CODE_POINTS_TO_STRING", expressions=[nul])
    if isinstance(node, exp.Create) and node.kind == "TABLE":
        defined = [each.name for each in node.find_all(exp.ColumnDef)] or _CLUSTERED
        by = [exp.column(name, quoted=True) for name in _CLUSTERED if name in defined]
        if by:
            clustered = exp.ClusterProperty(expressions=by)
            node.set("properties", exp.Properties(expressions=[clustered]))
    return node


class BigQuery(Destination):
    """See :class:`extend_pipeline.warehouse.remote.destination.Destination`.

    :param connect: makes a client of the project that pays, and that has the datasets.
    :param location: where a dataset is made that does not exist.
    """

    dialect = Dialect("bigquery", TYPES, widest=10_000, every_year=False, rewritten=rewritten)

    def __init__(self, name: str, connect: Callable[[], Client], *, location: str | None = None) -> None:
        super().__init__(name)
        self._connect = connect
        self._location = location
        self._opened: Client | None = None
        self._dataset = ""
        self._at: str | None = None
        self._temporary: dict[str, TableReference] = {}
        self._staged: list[TableReference] = []
        self._pending: list[str] | None = None
        self._script: Sequence[str] = ()
        self._milliseconds: int | None = None

    def read_only(self, seconds: float) -> None:
        """See :meth:`Destination.read_only`; what may be written is a matter of roles."""
        self._milliseconds = round(seconds * 1000)

    def open(self) -> None:
        from google.auth.exceptions import GoogleAuthError

        reason = ""
        try:
            self._opened = self._connect()
        except (GoogleAuthError, ValueError, OSError) as error:
            reason = type(error).__name__
        if reason:
            raise WarehouseError(
                f"{self.name} cannot be opened: {reason}. Check the connection's key. Without a key, check "
                "the worker's application default credentials."
            )

    def close(self) -> None:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        client, self._opened, self._pending = self._opened, None, None
        if client is None:
            return
        with contextlib.suppress(GoogleAPIError, GoogleAuthError, OSError):  # staged tables expire
            while self._staged:
                client.delete_table(self._staged.pop(), not_found_ok=True)
        self._temporary.clear()
        client.close()

    @property
    def _client(self) -> Client:
        return self.connected(self._opened)

    def _query(self, sql: str) -> QueryJob:
        from google.cloud.bigquery import QueryJobConfig

        limits = QueryJobConfig()
        if self._milliseconds is not None:
            limits.job_timeout_ms = self._milliseconds
        return self._client.query(sql, location=self._at, job_config=limits)

    def pages(self, sql: str) -> Iterator[Page]:
        if sql.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            pending, self._pending = self._pending, None
            if pending and sql.startswith("COMMIT"):
                self._script = ("BEGIN TRANSACTION", *pending, "COMMIT TRANSACTION")
                self._query(";\n".join(self._script)).result()
        elif sql.startswith(("SELECT", "WITH")):
            rows = self._query(sql).result(page_size=PAGE_ROWS)
            yield from (list(map(tuple, page)) for page in rows.pages)
        elif self._pending is not None:
            self._pending.append(sql)
        else:
            job = self._query(sql)
            job.result()
            if job.num_dml_affected_rows is not None:
                yield [(job.num_dml_affected_rows,)]

    def start_writing(self) -> None:
        """See :meth:`Destination.start_writing`; statements that follow are collected until the commit."""
        self._pending = []

    def columns(self, dataset: str) -> dict[str, Columns]:
        """See :meth:`Destination.columns`; a query of the catalog would cost money."""
        from google.api_core.exceptions import NotFound

        tables: list[TableListItem] = []
        with contextlib.suppress(NotFound):
            tables.extend(self._client.list_tables(dataset))
        return {
            each.table_id: {
                field.name: _KINDS[field.field_type]
                for field in self._client.get_table(each.reference).schema
                if field.field_type in _KINDS and field.mode != "REPEATED" and field.precision is None
            }
            for each in tables
            if each.table_type == "TABLE" and not each.table_id.startswith(_STAGED)
        }

    def make_schema(self, dataset: str) -> None:
        """Create the dataset unless it exists, and note its location, which a script needs to be given."""
        from google.api_core.exceptions import NotFound
        from google.cloud.bigquery import Dataset

        self._dataset = dataset
        try:
            known = self._client.get_dataset(dataset)
        except NotFound:
            made = Dataset(f"{self._client.project}.{dataset}")
            if self._location:
                made.location = self._location
            known = self._client.create_dataset(made, exists_ok=True)
        self._at = known.location

    def lock(self, dataset: str) -> None:
        """Create the dataset, in which rows are staged. Only the pool keeps other runs out."""
        self.make_schema(dataset)

    def temporary(self, columns: Columns) -> str:
        """See :meth:`Destination.temporary`; it is in the dataset, and expires."""
        reference = self._staging_table(columns)
        table = f"{quoted(reference.dataset_id)}.{quoted(reference.table_id)}"
        self._temporary[table] = reference
        return table

    def append(self, table: str, columns: Columns, rows: Session, query: str, file: Path) -> None:
        """See :meth:`Destination.append`; values go as text, which means the same on both sides."""
        if table in self._temporary:
            if rows.export(f"SELECT {our_names(columns)} FROM ({query})", file):
                self._load(file, self._temporary[table])
            return
        if not rows.export(f"SELECT {numbered_texts(columns)} FROM ({query})", file):
            return
        staged = self._staging_table({f"c{n}": ColumnType.TEXT for n in range(len(columns))})
        self._load(file, staged)
        typed = [
            f"{_typed(f'c{n}', kind)} AS c{n}"
            for n, kind in enumerate(columns.values())
            if kind is not ColumnType.TEXT
        ]
        replaced = f" REPLACE ({', '.join(typed)})" if typed else ""
        target, names = table.replace('"', "`"), ", ".join(map(_quoted, columns))
        source = f"{_quoted(staged.dataset_id)}.{_quoted(staged.table_id)}"
        insert = f"INSERT INTO {target} ({names}) SELECT *{replaced} FROM {source}"
        for _ in self.pages(insert):
            pass

    def _staging_table(self, columns: Columns) -> TableReference:
        from google.cloud.bigquery import DatasetReference, SchemaField, Table

        dataset = DatasetReference(self._client.project, self._dataset)
        fields = [SchemaField(column, TYPES[kind]) for column, kind in columns.items()]
        table = Table(dataset.table(f"{_STAGED}{uuid.uuid4().hex}"), fields)
        table.expires = datetime.now(UTC) + _EXPIRY
        self._staged.append(self._client.create_table(table).reference)
        return self._staged[-1]

    def _load(self, file: Path, table: TableReference) -> None:
        """Fill a table with a Parquet file, which is removed."""
        from google.cloud.bigquery import CreateDisposition, LoadJobConfig, SourceFormat

        config = LoadJobConfig(
            source_format=SourceFormat.PARQUET, create_disposition=CreateDisposition.CREATE_NEVER
        )
        with file.open("rb") as data:
            self._client.load_table_from_file(
                data, table, size=file.stat().st_size, job_config=config, location=self._at
            ).result()
        file.unlink()

    def as_text(self, column: str, kind: ColumnType) -> str:
        name = quoted(column)
        if kind is ColumnType.JSON:
            return f"CASE WHEN {name} IS NOT NULL THEN to_json_string({name}) END"
        return super().as_text(column, kind)

    def widening(self, table: str, column: str, kind: ColumnType) -> Sequence[str]:
        """See :meth:`Destination.widening`; dates become times in a table that takes the table's place."""
        if kind is not ColumnType.TIMESTAMP:
            return super().widening(table, column, kind)
        name = quoted(column)
        rows = f"SELECT * REPLACE (CAST({name} AS {OURS[kind]}) AS {name}) FROM {table}"
        return (f"CREATE OR REPLACE TABLE {table} AS {rows}",)

    def views(self, dataset: str) -> dict[str, str]:
        listed = [each for each in self._client.list_tables(dataset) if each.table_type == "VIEW"]
        return {each.table_id: self._client.get_table(each.reference).description or "" for each in listed}

    def drop_view(self, dataset: str, view: str) -> None:
        """Do nothing: in BigQuery a column can be changed while a view reads it."""

    def make_view(self, dataset: str, view: str, statement: str, mark: str) -> None:
        marked = f" OPTIONS (description = {literal(mark)}) AS "
        self._query(statement.replace(" AS ", marked, 1)).result()

    def fault(self, error: Exception) -> tuple[str, str] | None:
        from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        name = type(error).__name__
        if isinstance(error, GoogleAuthError):
            return name, "Check the connection's key, its scopes, and the accounts that it may impersonate."
        if not isinstance(error, GoogleAPICallError):
            away = isinstance(error, (GoogleAPIError, RequestException))
            return (
                (name, "BigQuery may be unreachable from here. Clear the task to try again.")
                if away
                else None
            )
        details = error.errors[0] if error.errors else {}
        reason, message = details.get("reason", ""), details.get("message") or error.message or ""
        remedy = message if reason in _OF_THE_SERVER else WITHHELD
        if _CONFLICT.search(message):
            remedy = "BigQuery cancelled this one of two concurrent transactions. Clear the task."
        return f"{name} ({reason or error.code}){self._place(message)}", remedy

    def _place(self, message: str) -> str:
        """Return the statement of the last script that a message's line number belongs to."""
        found = _PLACE.search(message)
        if found is None or not 0 < int(found[1]) <= len(self._script):
            return ""
        return f" at {' '.join(self._script[int(found[1]) - 1].split()[:3])}"


def open_warehouse(connection: Connection, dataset: str) -> RemoteWarehouse:
    """Return the BigQuery project that a connection of Airflow's type ``google_cloud_platform`` names.

    Extra fields: ``project`` (that of the credentials, if it is not given), ``location`` (of a dataset that
    is made), the credentials as :mod:`extend_pipeline.warehouse.destinations.google_credentials` has them;
    ``memory_limit_mb`` (default 128) and ``threads`` (default 1).
    """
    require(connection, "bigquery", "google.cloud.bigquery", "sqlglot")
    from google.cloud.bigquery import Client

    from extend_pipeline.warehouse.destinations.google_credentials import credentials

    extra = connection.extra_dejson

    def connect() -> Client:
        found, its_own = credentials(extra)
        project = extra.get("project") or its_own
        if not project:
            raise WarehouseError(f"Connection {connection.conn_id!r} needs the extra field 'project'.")
        return Client(project, credentials=found)

    where = f" {extra['project']}" if extra.get("project") else ""
    name = f"BigQuery{where} (connection {connection.conn_id!r})"
    destination = BigQuery(name, connect, location=extra.get("location") or None)
    return RemoteWarehouse(destination, dataset, **numbers(connection, *DUCKDB))


def _quoted(name: str) -> str:
    """Return an identifier in BigQuery's quotes."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _typed(text: str, kind: ColumnType) -> str:
    """Return how a value is read from text; JSON that BigQuery cannot hold becomes JSON text."""
    if kind is not ColumnType.JSON:
        return f"CAST({text} AS {TYPES[kind]})"
    parsed = f"SAFE.PARSE_JSON({text}, wide_number_mode => 'round')"
    return f"IF({text} IS NULL, NULL, IFNULL({parsed}, TO_JSON({text})))"
