"""A warehouse behind a network: DuckDB decides what lands; its own dialect reads and writes it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Self

from extend_pipeline.documents import Document
from extend_pipeline.temporary import temporary_folder
from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.duckdb_file import DuckDBWarehouse
from extend_pipeline.warehouse.files import StagedFile, read_lines
from extend_pipeline.warehouse.queries import claims, landed_runs, summary
from extend_pipeline.warehouse.queries.preflight import UndoneError
from extend_pipeline.warehouse.records import (
    AS_BEFORE,
    Landing,
    LandingPolicy,
    Provenance,
    WarehouseBusyError,
    WarehouseError,
)
from extend_pipeline.warehouse.remote import rehearsal
from extend_pipeline.warehouse.remote.destination import Destination, DestinationSession
from extend_pipeline.warehouse.remote.sync import Sync
from extend_pipeline.warehouse.schema import migrations
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.sql import TYPES, Columns, names

_WORKBENCH: Final = "workbench"


class RemoteWarehouse(Warehouse):
    """See :class:`extend_pipeline.warehouse.api.Warehouse`.

    A plan or a landing locks the dataset until its transaction ends, where the engine has locks. Readers do
    not wait.

    :param memory_limit_mb: what DuckDB may use to prepare a part; clients and drivers take as much again.
        Beyond it, DuckDB works on disk at the same speed (measured).
    """

    def __init__(
        self, destination: Destination, dataset: str, *, memory_limit_mb: int = 128, threads: int = 1
    ) -> None:
        super().__init__(dataset, destination.name)
        self._destination = destination
        self._unopened = copy.deepcopy(destination)
        self._memory_limit_mb = memory_limit_mb
        self._threads = threads
        self._planning = False

    def __enter__(self) -> Self:
        """Connect."""
        self._destination.open()
        return self

    def __exit__(self, *exc: object) -> None:
        """Disconnect; what was not committed is gone."""
        self._destination.close()

    def read_only(self, seconds: float) -> None:
        """Let what is opened next write nothing, and no statement take longer, where the engine can do so."""
        self._destination.read_only(seconds)

    def keep_counts(self) -> bool:
        """Count a large dataset anew for the page in Airflow; return whether it is large."""
        session = self.session(f"Counting in {self.name}")
        return summary.keep(session, self.dataset, session.columns(self.dataset))

    def session(self, purpose: str) -> DestinationSession:
        """Return a new session; its rows can be read while other sessions run statements."""
        return DestinationSession(self._destination, purpose)

    def land(
        self,
        submission: Iterable[Document],
        raw_lines: Iterable[bytes],
        *,
        provenance: Provenance,
        policy: LandingPolicy = AS_BEFORE,
        withhold: bool = False,
        begin: Callable[[], Provenance] | None = None,
    ) -> Landing:
        session = self.session(f"Part {provenance.part} into {self.name}")
        with self._workbench() as workbench:
            folder = workbench.path.parent
            part = workbench.parsed(submission, raw_lines, folder, name=provenance.part)
            if self._planning:
                self._planning = False
                session.run("end planning", "COMMIT")
            self._migrate(make=True)
            with self._exclusive(session):
                if begin is not None:
                    provenance = begin()
                return Sync(workbench, session, part, provenance, folder).land(policy, withhold=withhold)

    def check_writable(self) -> None:
        found = self.session(self._purpose).objections(self.dataset)
        if found:
            raise WarehouseError(f"{self._purpose}. {' '.join(found)} Nothing was planned or sent.")
        reason = ""
        try:
            super().check_writable()
        except WarehouseError as error:
            reason = str(error)
            if isinstance(error, WarehouseBusyError) or reason.startswith(self._purpose):
                raise
        if reason:
            raise WarehouseError(f"{self._purpose}: {reason}")

    def _separate(self) -> RemoteWarehouse:
        return RemoteWarehouse(
            copy.deepcopy(self._unopened),
            self.dataset,
            memory_limit_mb=self._memory_limit_mb,
            threads=self._threads,
        )

    def _rehearse_landing(self) -> None:
        """Land a part if all of it can be undone; otherwise check that each table can be written to."""
        if not self._destination.undoes_tables:
            super()._rehearse_landing()
            return
        session = self.session(self._purpose)
        with self._workbench() as workbench, contextlib.suppress(UndoneError):
            folder = workbench.path.parent
            part = workbench.parsed(
                [rehearsal.DOCUMENT], [rehearsal.LINE], folder, name=rehearsal.ORIGIN.part
            )
            with self._exclusive(session):
                migrations.migrate(session, self.dataset, make=True)
                claims.make_claims(session, self.dataset)
                claims.write_claims(session, self.dataset, *rehearsal.CLAIM)
                Sync(workbench, session, part, rehearsal.ORIGIN, folder).land(rehearsal.POLICY)
                landed_runs.note_deleted_runs(
                    session, self.dataset, "(SELECT '_preflight' AS run_id) AS gone", ""
                )
                raise UndoneError

    @contextlib.contextmanager
    def _workbench(self) -> Iterator[DuckDBWarehouse]:
        """Open an empty DuckDB file with the same dataset, in a temporary folder."""
        with (
            temporary_folder() as folder,
            DuckDBWarehouse(
                folder / f"{_WORKBENCH}.duckdb",
                self.dataset,
                conn_id=_WORKBENCH,
                memory_limit_mb=self._memory_limit_mb,
                threads=self._threads,
            ) as workbench,
        ):
            yield workbench

    def _relation(self, session: Session, file: StagedFile, columns: Columns) -> str:
        there = self.session(session.purpose)
        table = there.temporary(columns)
        source = read_lines(file, {name: TYPES[kind] for name, kind in columns.items()})
        rows = f"SELECT {names(columns)} FROM {source}"
        with self._workbench() as workbench:
            here = workbench.session(f"Keys for {self.name}")
            there.append("insert keys", table, columns, here, rows, workbench.path.parent / "keys")
        return table

    @contextlib.contextmanager
    def _exclusive(self, session: Session) -> Iterator[None]:
        begun, self._planning = self._planning, False
        with session.transaction(begun=begun):
            if not begun:
                self._lock()
            yield

    def _planning_transaction(self, session: Session) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._planning else self._exclusive(session)

    def begin_planning(self) -> None:
        if not self._planning:
            self.session(f"Planning in {self.name}").run("begin", "BEGIN TRANSACTION")
            self._planning = True
            self._lock()

    def _lock(self) -> None:
        self.session(f"Waiting for {self.name}").lock(self.dataset)
