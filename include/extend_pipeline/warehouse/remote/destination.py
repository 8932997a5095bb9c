"""What a warehouse behind a network has to do so that documents can land in it.

DuckDB decides which rows land. A destination runs statements, takes rows in bulk, and says how far one
transaction reaches.
"""

from __future__ import annotations

import abc
import functools
import hashlib
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from extend_pipeline.warehouse.records import WarehouseBusyError, WarehouseError
from extend_pipeline.warehouse.remote.dialect import Dialect
from extend_pipeline.warehouse.session import Page, Session
from extend_pipeline.warehouse.sql import TYPES, Columns, ColumnType, quoted

T = TypeVar("T")


def buffered(pages: Iterator[Page]) -> Iterator[Page]:
    """Read all pages into a file first, so that their transaction can end before they are used."""
    with tempfile.TemporaryFile() as file:
        for page in pages:
            pickle.dump(page, file)
        end = file.tell()
        file.seek(0)
        while file.tell() < end:
            yield pickle.load(file)  # noqa: S301 # written above


class Destination(abc.ABC):
    """One connection to a warehouse.

    :param name: its name in messages, without any secret.
    """

    dialect: Dialect
    #: Whether a rollback also undoes the tables that the transaction made.
    undoes_tables = False

    def __init__(self, name: str) -> None:
        self.name = name

    def connected(self, connection: T | None) -> T:
        """Return the connection.

        :raises WarehouseError: if it is closed.
        """
        if connection is None:
            raise WarehouseError(f"{self.name} is closed; use it as a context manager.")
        return connection

    def busy(self, dataset: str, seconds: float) -> WarehouseBusyError:
        """Return the error that another run has kept a dataset locked for too long."""
        return WarehouseBusyError(
            f"{self.name}: another run has been planning or landing in {dataset!r} for more than "
            f"{seconds:g} s. Nothing was written."
        )

    def read_only(self, seconds: float) -> None:
        """Note, before opening, that nothing will be written and no statement is to take longer."""
        return

    @abc.abstractmethod
    def open(self) -> None:
        """Connect.

        :raises WarehouseError: if it cannot; the message has the reason and no secret.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Disconnect; what was not committed is gone."""

    @abc.abstractmethod
    def pages(self, sql: str) -> Iterator[Page]:
        """Run a statement of the engine; yield its rows in pages, or the one number of rows it changed.

        The rows can still be read after their transaction has ended.
        """

    @abc.abstractmethod
    def columns(self, dataset: str) -> dict[str, Columns]:
        """Return the tables of a dataset with those of their columns that are of our types."""

    @abc.abstractmethod
    def lock(self, dataset: str) -> None:
        """Wait until no other run writes to the dataset, and keep others out until the transaction ends.

        :raises WarehouseBusyError: if that takes too long.
        """

    @abc.abstractmethod
    def temporary(self, columns: Columns) -> str:
        """Make an empty table that lasts as long as the connection, or as the open transaction.

        Return its name in DuckDB's dialect.
        """

    @abc.abstractmethod
    def append(self, table: str, columns: Columns, rows: Session, query: str, file: Path) -> None:
        """Append rows to a table in bulk.

        :param table: its name in DuckDB's dialect.
        :param columns: what the query returns, in its order.
        :param rows: a session of the DuckDB database that runs ``query``.
        :param file: may be written on the way.
        """

    @abc.abstractmethod
    def fault(self, error: Exception) -> tuple[str, str] | None:
        """Return the engine's name of the fault and a remedy; None if the error is not the engine's.

        Neither may contain a document's value.
        """

    def objections(self, dataset: str) -> Iterator[str]:
        """Yield what would keep documents from landing, each with its remedy, for the preflight."""
        yield from ()

    @abc.abstractmethod
    def make_schema(self, dataset: str) -> None:
        """Make the schema unless it exists."""

    @abc.abstractmethod
    def views(self, dataset: str) -> dict[str, str]:
        """Return the dataset's views, each with the mark that :meth:`make_view` left on it."""

    @abc.abstractmethod
    def make_view(self, dataset: str, view: str, statement: str, mark: str) -> None:
        """Make or replace a view, and leave a mark on it.

        :param statement: ``CREATE OR REPLACE VIEW …`` in the engine's dialect.
        """

    def drop_view(self, dataset: str, view: str) -> None:
        """Drop a view if it exists, so that the columns that it reads can be changed."""
        statement = f"DROP VIEW IF EXISTS {quoted(dataset)}.{quoted(view)}"
        list(self.pages(self.dialect.transpiled(statement)))

    def start_writing(self) -> None:
        """Note that until the transaction ends, rows are only deleted and appended; nothing is made."""
        return

    def as_text(self, column: str, kind: ColumnType) -> str:
        """Return the expression, in DuckDB's dialect, that reads a column as text that DuckDB can read."""
        return f"CAST({quoted(column)} AS VARCHAR)"

    def widening(self, table: str, column: str, kind: ColumnType) -> Sequence[str]:
        """Return the statements, in DuckDB's dialect, that change a column to a wider type."""
        return (f"ALTER TABLE {table} ALTER COLUMN {quoted(column)} SET DATA TYPE {TYPES[kind]}",)

    def index(self, dataset: str, table: str, column: str) -> None:
        """Index a column of an existing table, unless the engine has no indexes or the index exists."""
        return

    def index_documents(self, dataset: str) -> None:
        """Index what people look for among documents, unless the engine has no indexes or these exist."""
        return

    def after_creating(self, dataset: str, table: str, columns: Columns) -> None:
        """Do what the engine needs for a new table, such as an index."""
        return


class DestinationSession(Session):
    """Statements of DuckDB's dialect on a destination."""

    def __init__(self, destination: Destination, purpose: str) -> None:
        self.destination = destination
        self.purpose = purpose

    def columns(self, dataset: str) -> dict[str, Columns]:
        return self._guarded("read columns", lambda: self.destination.columns(dataset))

    def objections(self, dataset: str) -> list[str]:
        return self._guarded("look for rights", lambda: list(self.destination.objections(dataset)))

    def make_schema(self, dataset: str) -> None:
        self._guarded("make schema", lambda: self.destination.make_schema(dataset))

    def lock(self, dataset: str) -> None:
        self._guarded("lock", lambda: self.destination.lock(dataset))

    def temporary(self, columns: Columns) -> str:
        return self._guarded("make a temporary table", lambda: self.destination.temporary(columns))

    def append(
        self, statement: str, table: str, columns: Columns, rows: Session, query: str, file: Path
    ) -> None:
        self._guarded(statement, lambda: self.destination.append(table, columns, rows, query, file))

    def make_table(self, dataset: str, table: str, columns: Columns) -> None:
        """Make a table, and what the engine needs with it."""
        super().make_table(dataset, table, columns)
        self._guarded(f"index {table}", lambda: self.destination.after_creating(dataset, table, columns))

    def widening(self, table: str, column: str, kind: ColumnType) -> Sequence[str]:
        return self.destination.widening(table, column, kind)

    def index(self, dataset: str, table: str, column: str) -> None:
        self._guarded(f"index {table}", lambda: self.destination.index(dataset, table, column))

    def index_documents(self, dataset: str) -> None:
        self._guarded("index documents", lambda: self.destination.index_documents(dataset))

    def start_writing(self) -> None:
        self._guarded("start writing", self.destination.start_writing)

    def drop_view(self, dataset: str, view: str) -> None:
        self._guarded(f"drop {view}", lambda: self.destination.drop_view(dataset, view))

    def make_views(self, dataset: str, statements: Mapping[str, str]) -> None:
        """Make the views that are missing or were made by another statement."""
        known = self._guarded("read views", lambda: self.destination.views(dataset))
        for view, text in statements.items():
            statement = self.destination.dialect.transpiled(text)
            mark = hashlib.sha256(statement.encode()).hexdigest()
            if known.get(view) != mark:
                make = functools.partial(self.destination.make_view, dataset, view, statement, mark)
                self._guarded(f"make {view}", make)

    def _executed(self, sql: str, parameters: Sequence[object] | None) -> Iterator[Page]:
        yield from self.destination.pages(self.destination.dialect.transpiled(sql, parameters))

    def _fault(self, error: Exception) -> tuple[str, str] | None:
        return self.destination.fault(error)
