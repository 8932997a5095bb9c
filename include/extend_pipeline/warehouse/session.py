"""Statements on a DuckDB connection, with errors that name the statement and never a document's value."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from extend_pipeline.warehouse.records import WarehouseError

if TYPE_CHECKING:
    import duckdb

T = TypeVar("T")

#: Rows fetched at once.
_PAGE: Final = 10_000
#: What helps against the faults that are not in the data.
_REMEDIES: Final = {
    "OutOfMemoryException": "Raise memory_limit_mb in the connection's extra.",
    "IOException": "Check the disk that the file lies on: space, permissions.",
}


class Session:
    """One connection, working for one purpose.

    :param purpose: what the statements are for, in error messages: ``part s3://…`` for instance.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, purpose: str) -> None:
        self._connection = connection
        self._purpose = purpose

    def run(self, statement: str, sql: str, parameters: Sequence[object] | None = None) -> None:
        """Run a statement; ``statement`` is what it is called in an error.

        :raises WarehouseError: in place of DuckDB's error, whose text can hold the values at hand.
        """
        self.rows(statement, sql, parameters)

    def rows(
        self, statement: str, sql: str, parameters: Sequence[object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement and return its few rows; see :meth:`run`."""
        return [row for page in self.pages(statement, sql, parameters) for row in page]

    def pages(
        self, statement: str, sql: str, parameters: Sequence[object] | None = None
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Run a statement and yield its rows in pages; see :meth:`run`."""
        self._guarded(statement, lambda: self._connection.execute(sql, parameters))
        while page := self._guarded(statement, lambda: self._connection.fetchmany(_PAGE)):
            yield page

    def _guarded(self, statement: str, action: Callable[[], T]) -> T:
        import duckdb

        try:
            return action()
        except duckdb.Error as error:
            fault = type(error).__name__
        # Raised outside of the handler, so that DuckDB's error is not even this one's context.
        remedy = _REMEDIES.get(fault, "The values at hand are left out of this message on purpose.")
        raise WarehouseError(
            f"{self._purpose}: {fault} in statement {statement!r}. Nothing of it has been written. {remedy}"
        )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run what is inside as one transaction; any exception undoes all of it."""
        self.run("begin", "BEGIN TRANSACTION")
        try:
            yield
            self.run("commit", "COMMIT")
        except BaseException:
            with contextlib.suppress(WarehouseError):  # a failed COMMIT has already rolled back
                self.run("rollback", "ROLLBACK")
            raise
