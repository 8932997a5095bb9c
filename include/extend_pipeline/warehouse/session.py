"""Statements on an open warehouse, with errors that name the statement and never a document's value."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.sql import (
    TYPES,
    Columns,
    ColumnType,
    by_table,
    created,
    literal,
    names,
    qualified,
    quoted,
)

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")
Page = list[tuple[Any, ...]]

#: Rows fetched at once.
PAGE_ROWS: Final = 10_000
#: What to do about faults that are not in the data.
_REMEDIES: Final = {
    "OutOfMemoryException": "Raise memory_limit_mb in the connection's extra.",
    "IOException": "Check the disk that the file lies on: space, permissions.",
}
_COLUMN_TYPES: Final = {
    word.replace(", ", ",").replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"): kind
    for kind, word in TYPES.items()
}
WITHHELD: Final = "The values at hand are left out of this message on purpose."


class Session:
    """One connection, working for one purpose. Statements are in DuckDB's dialect.

    :param purpose: what the statements are for, and how error messages begin: ``Part s3://… into …``.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, purpose: str) -> None:
        self._connection = connection
        self.purpose = purpose

    def run(self, statement: str, sql: str, parameters: Sequence[object] | None = None) -> None:
        """Run a statement; ``statement`` is what it is called in an error.

        :raises WarehouseError: in place of the engine's error, whose text can hold the values at hand.
        """
        self.rows(statement, sql, parameters)

    def rows(self, statement: str, sql: str, parameters: Sequence[object] | None = None) -> Page:
        """Run a statement and return its few rows, or the one number of rows it changed; see :meth:`run`."""
        return [row for page in self.pages(statement, sql, parameters) for row in page]

    def pages(self, statement: str, sql: str, parameters: Sequence[object] | None = None) -> Iterator[Page]:
        """Run a statement and yield its rows in pages; see :meth:`run`."""
        pages = self._executed(sql, parameters)
        while page := self._guarded(statement, lambda: next(pages, None)):
            yield page

    def export(self, query: str, file: Path) -> int:
        """Write the rows of a query to Parquet as every warehouse reads it; return how many."""
        to = f"TO {literal(str(file))} (FORMAT parquet, PARQUET_VERSION v1)"
        ((count,),) = self.rows("export", f"COPY ({query}) {to}")
        return int(count)

    def stage(self, name: str, rows: str, parameters: Sequence[object] | None = None) -> int:
        """Make or replace a temporary table with the rows; return their number."""
        ((count,),) = self.rows(f"stage {name}", f"CREATE OR REPLACE TEMP TABLE {name} AS {rows}", parameters)
        return int(count)

    def insert(
        self,
        dataset: str,
        table: str,
        columns: Columns,
        rows: str,
        parameters: Sequence[object] | None = None,
    ) -> int:
        """Insert rows with these columns, in this order; return their number."""
        target = f"{qualified(dataset, table)} ({names(columns)})"
        ((count,),) = self.rows(f"insert into {table}", f"INSERT INTO {target} {rows}", parameters)
        return int(count)

    def columns(self, dataset: str) -> dict[str, Columns]:
        """Return the dataset's tables with those of their columns that are of our types, views left out."""
        found = self.rows(
            "read columns",
            "SELECT table_name, column_name, data_type FROM duckdb_columns() JOIN duckdb_tables() "
            "USING (database_oid, schema_oid, table_oid, database_name, schema_name, table_name) "
            f"WHERE database_name = current_database() AND schema_name = {literal(dataset)} "
            "ORDER BY table_name, column_index",
        )
        return by_table((table, column, _COLUMN_TYPES.get(kind)) for table, column, kind in found)

    def make_schema(self, dataset: str) -> None:
        """Make the schema unless it exists."""
        self.run("make schema", f"CREATE SCHEMA IF NOT EXISTS {quoted(dataset)}")

    def make_table(self, dataset: str, table: str, columns: Columns) -> None:
        """Make a table, and what the engine needs with it."""
        self.run(f"make {table}", created(qualified(dataset, table), columns))

    def fit_table(self, dataset: str, table: str, columns: Columns, before: Columns | None) -> None:
        """Make a table, or add the columns and widen the types that differ.

        :param before: its columns; None if it does not exist.
        """
        if before is None:
            self.make_table(dataset, table, columns)
            return
        target = qualified(dataset, table)
        for column, kind in columns.items():
            if column not in before:
                self.run(f"add to {table}", f"ALTER TABLE {target} ADD COLUMN {quoted(column)} {TYPES[kind]}")
            elif before[column] is not kind:
                for statement in self.widening(target, column, kind):
                    self.run(f"widen {table}", statement)

    def widening(self, table: str, column: str, kind: ColumnType) -> Sequence[str]:
        """Return the statements that change a column to a type that holds more."""
        return (f"ALTER TABLE {table} ALTER COLUMN {quoted(column)} TYPE {TYPES[kind]}",)

    def index(self, dataset: str, table: str, column: str) -> None:
        """Index a column of an existing table, unless the engine has no indexes or the index exists."""
        return

    def index_documents(self, dataset: str) -> None:
        """Index what people look for among documents, unless the engine has no indexes or these exist."""
        return

    def drop_view(self, dataset: str, view: str) -> None:
        """Drop a view if it exists, so that the columns that it reads can be changed."""
        self.run(f"drop {view}", f"DROP VIEW IF EXISTS {qualified(dataset, view)}")

    def make_views(self, dataset: str, statements: Mapping[str, str]) -> None:
        """Make the views that are missing or were made by another statement.

        A comment on each view holds the hash of the statement that made it.
        """
        marks: dict[str, str | None] = dict(
            self.rows(
                "read views",
                "SELECT view_name, comment FROM duckdb_views() "
                f"WHERE database_name = current_database() AND schema_name = {literal(dataset)}",
            )
        )
        for view, statement in statements.items():
            mark = hashlib.sha256(statement.encode()).hexdigest()
            if marks.get(view) != mark:
                comment = f"COMMENT ON VIEW {qualified(dataset, view)} IS {literal(mark)}"
                self.run(f"make {view}", f"{statement}; {comment}")

    def start_writing(self) -> None:
        """Note that until the transaction ends, rows are only deleted and appended; nothing is made."""
        return

    def _executed(self, sql: str, parameters: Sequence[object] | None) -> Iterator[Page]:
        self._connection.execute(sql, parameters)
        while page := self._connection.fetchmany(PAGE_ROWS):
            yield page

    def _fault(self, error: Exception) -> tuple[str, str] | None:
        """Return the engine's name of the fault and a remedy; None if the error is not the engine's."""
        import duckdb

        if not isinstance(error, duckdb.Error):
            return None
        return type(error).__name__, _REMEDIES.get(type(error).__name__, WITHHELD)

    def _guarded(self, statement: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except Exception as error:
            fault = self._fault(error)
            if fault is None:
                raise
        # Raised outside of the handler, so that the engine's error is not even this one's context.
        name, remedy = fault
        raise WarehouseError(
            f"{self.purpose}: {name} in statement {statement!r}. Its transaction was undone. {remedy}"
        )

    @contextlib.contextmanager
    def transaction(self, *, begun: bool = False) -> Iterator[None]:
        """Run the block as one transaction; an exception rolls it back.

        :param begun: the transaction is open already; it ends here.
        """
        if not begun:
            self.run("begin", "BEGIN TRANSACTION")
        try:
            yield
            self.run("commit", "COMMIT")
        except BaseException:
            with contextlib.suppress(WarehouseError):  # a failed COMMIT has already rolled back
                self.run("rollback", "ROLLBACK")
            raise
