"""A dataset of a warehouse: how it is opened, how statements run in it, and which version its layout has."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

from extend_pipeline.warehouse.files import StagedFile
from extend_pipeline.warehouse.schema import migrations
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.sql import Columns

T = TypeVar("T")


class Dataset(abc.ABC):
    """A schema of a warehouse; a context manager that opens and closes the warehouse.

    :param dataset: the schema.
    :param name: what the warehouse is called in errors.
    """

    def __init__(self, dataset: str, name: str) -> None:
        self.dataset = dataset
        self.name = name
        self._is_migrated = False

    @abc.abstractmethod
    def __enter__(self) -> Self:
        """Return the open warehouse."""

    @abc.abstractmethod
    def __exit__(self, *exc: object) -> None:
        """Close the warehouse; what was not committed is gone."""

    @abc.abstractmethod
    def session(self, purpose: str) -> Session:
        """Return a new session; its rows can be read while other sessions run statements."""

    @abc.abstractmethod
    def _relation(self, session: Session, file: StagedFile, columns: Columns) -> str:
        """Return a relation that has the rows of a staged file, for statements of any session."""

    @abc.abstractmethod
    def _exclusive(self, session: Session) -> contextlib.AbstractContextManager[None]:
        """Run the block as one transaction, while no other run plans or lands in the dataset."""

    def _planning_transaction(self, session: Session) -> contextlib.AbstractContextManager[None]:
        """Run the block within the planning that has begun, or else as :meth:`_exclusive` does."""
        return self._exclusive(session)

    def _ask(self, purpose: str, question: Callable[[Session], Iterable[T]]) -> Iterator[T]:
        """Yield the answers; none if nothing has landed in the dataset yet."""
        session = self.session(f"{purpose} in {self.name}")
        if "documents" in self._tables(session):
            yield from question(session)

    def _tables(self, session: Session) -> dict[str, Columns]:
        """Return the dataset's tables with their columns; refuse a dataset of a newer release.

        No generated name begins with an underscore, and no fixed one: those tables are about the dataset.
        """
        there = session.columns(self.dataset)
        if not self._is_migrated:
            migrations.version(session, self.dataset, there)
        return {table: columns for table, columns in there.items() if not table.startswith("_")}

    def _migrate(self, *, make: bool = False) -> None:
        """Bring the dataset to this release's layout, once while the warehouse is open.

        :param make: something is about to be made in it, if there is nothing yet.
        """
        if self._is_migrated:
            return
        session = self.session(f"Layout of {self.name}")
        there = session.columns(self.dataset)
        found = migrations.version(session, self.dataset, there)
        if found == migrations.MIGRATIONS[-1].version:
            self._is_migrated = True
        elif there or make:
            with self._planning_transaction(session):
                self._is_migrated = migrations.migrate(session, self.dataset, make=make)
