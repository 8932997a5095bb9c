"""A DuckDB file as the warehouse: one process at a time, one transaction per part."""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from extend_pipeline.documents import Document
from extend_pipeline.warehouse import charges, claims, dead_letters, landed_runs
from extend_pipeline.warehouse.landing import Load
from extend_pipeline.warehouse.records import (
    AS_BEFORE,
    Candidate,
    Charge,
    DeadLetter,
    LandedRun,
    Landing,
    LandingPolicy,
    Provenance,
    WarehouseBusyError,
    WarehouseError,
)
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.sql import literal, quoted
from extend_pipeline.warehouse.staging import StagedFile, StagedPart, stage

if TYPE_CHECKING:
    import duckdb

R = TypeVar("R")
T = TypeVar("T")

log = logging.getLogger(__name__)

#: Copies of a JSON value that DuckDB 2.0 makes while ``json_tree`` takes it apart (measured, rounded up).
_WORKING_COPIES: Final = 24
_HOLDER: Final = re.compile(r"PID (\d+)")
_LOCKED: Final = "Could not set lock"


class DuckDBWarehouse:
    """See :class:`extend_pipeline.warehouse.records.Warehouse`.

    A DuckDB file can be open in one process only, not even for reading in another. The file is opened when
    the context is entered and closed when it is left.

    :param memory_limit_mb: what DuckDB may use; beyond it, it works on disk beside the file. It is raised
        while a part lands that holds an extraction of more than a twenty-fourth of it.
    :param lock_timeout: seconds to wait while another process has the file open.
    """

    def __init__(
        self,
        path: Path,
        dataset: str,
        *,
        conn_id: str,
        memory_limit_mb: int = 256,
        threads: int = 2,
        lock_timeout: float = 120,
    ) -> None:
        self.path = path
        self.dataset = dataset
        self._conn_id = conn_id
        self._lock_timeout = lock_timeout
        self._memory_limit_mb = memory_limit_mb
        self._config: dict[str, Any] = {
            "memory_limit": f"{memory_limit_mb}MB",
            "threads": threads,
            "temp_directory": f"{path}.tmp",
            "preserve_insertion_order": False,
        }
        self._open_connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Self:
        """Open the file, made with its folder if it does not exist; wait while another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._open_connection = self._connect()
        # Times without an offset are UTC; every other one says so itself.
        self._open_connection.execute("SET TimeZone = 'UTC'")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; what was not committed is gone."""
        if self._open_connection is not None:
            self._open_connection.close()
            self._open_connection = None

    def _connect(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        attempts = Retrying(
            retry=retry_if_exception(_is_locked),
            stop=stop_after_delay(self._lock_timeout),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            before_sleep=self._say_that_it_waits,
            reraise=True,
        )
        try:
            return attempts(duckdb.connect, str(self.path), config=self._config)
        except duckdb.Error as error:
            if _is_locked(error):
                raise WarehouseBusyError(
                    f"{self.path} (connection {self._conn_id!r}) has been open in another process"
                    f"{_holder(error)} for more than {self._lock_timeout:g} s. A DuckDB file has one process "
                    "at a time: another load, which the pool 'extend_warehouse' with its one slot is there "
                    "to prevent, or somebody's query tool. Close that, or let it read a copy of the file."
                ) from None
            raise WarehouseError(
                f"{self.path} (connection {self._conn_id!r}) cannot be opened: {error}"
            ) from None

    def _say_that_it_waits(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1:
            log.info("%s is open in another process%s; waiting for it.", self.path, _holder(error))

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        if self._open_connection is None:
            raise WarehouseError(f"The warehouse {self.path} is closed; use it as a context manager.")
        return self._open_connection

    def unlanded(
        self,
        candidates: Iterable[Document],
        *,
        workflow_id: str,
        version: str | None,
        repetition: str = "",
        any_claim: bool = False,
    ) -> Iterator[Candidate]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.unlanded`.

        The candidates pass through a local file, and one join each finds the positions of those that have
        landed and of those that a chunk holds: memory does not grow with their number.
        """
        with tempfile.TemporaryDirectory(prefix="extend-discovery-") as folder:
            staged = StagedFile(Path(folder) / "candidates.ndjson")
            for position, document in enumerate(candidates):
                staged.write(
                    {"position": position, "document_id": document.id, **dataclasses.asdict(document)}
                )
            staged.close()
            key = (workflow_id, version or "")
            landed = self._positions(claims.landed_positions, "documents", staged, key, repetition)
            whose = None if any_claim else repetition
            claimed = self._positions(claims.claimed_positions, "claims", staged, key, whose)
            next_landed, next_claimed = next(landed, None), next(claimed, None)
            with staged.path.open("rb") as lines:
                for position, line in enumerate(lines):
                    chunk = None
                    if next_claimed is not None and position == next_claimed[0]:
                        chunk, next_claimed = next_claimed[1], next(claimed, None)
                    if position == next_landed:
                        next_landed = next(landed, None)
                    else:
                        yield Candidate(Document.from_mapping(json.loads(line)), chunk)

    def _positions(
        self,
        query: Callable[[Session, str, StagedFile, Sequence[str], R], Iterator[T]],
        table: str,
        candidates: StagedFile,
        key: Sequence[str],
        repetition: R,
    ) -> Iterator[T]:
        session = Session(self._connection.cursor(), f"Planning in {self.path}")
        if not candidates.lines or not claims.has_table(session, self.dataset, table):
            return iter(())
        return query(session, self.dataset, candidates, key, repetition)

    def claim(
        self,
        claimed: Iterable[tuple[Document, str]],
        *,
        workflow_id: str,
        version: str | None,
        repetition: str = "",
    ) -> None:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.claim`."""
        session = Session(self._connection, f"Claims in {self.path}")
        with tempfile.TemporaryDirectory(prefix="extend-claims-") as folder:
            staged = StagedFile(Path(folder) / "claims.ndjson")
            for document, chunk in claimed:
                staged.write({"document_id": document.id, "chunk": chunk})
            staged.close()
            if staged.lines:
                claims.write_claims(session, self.dataset, staged, (workflow_id, version or ""), repetition)

    def dead_letters(
        self, *, workflow_id: str | None = None, version: str | None = None
    ) -> Iterator[DeadLetter]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.dead_letters`."""
        session = Session(self._connection.cursor(), f"Dead letters in {self.path}")
        if not claims.has_table(session, self.dataset, "documents"):
            return iter(())
        return dead_letters.dead_letters(session, self.dataset, workflow_id, version)

    def charges(self, *, workflow_id: str, version: str | None) -> list[Charge]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.charges`."""
        session = Session(self._connection, f"Charges in {self.path}")
        if not claims.has_table(session, self.dataset, "documents"):
            return []
        return charges.charges(session, self.dataset, workflow_id, version)

    def land(
        self,
        submission: Iterable[Document],
        raw_lines: Iterable[bytes],
        *,
        provenance: Provenance,
        policy: LandingPolicy = AS_BEFORE,
    ) -> Landing:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.land`."""
        session = Session(self._connection, f"Part {provenance.part} into {self.path}")
        with tempfile.TemporaryDirectory(prefix="extend-load-") as folder:
            part = stage(submission, raw_lines, Path(folder), name=provenance.part)
            with self._memory_for(part, session):
                return Load(session, self.dataset, part, provenance, policy).run()

    @contextlib.contextmanager
    def _memory_for(self, part: StagedPart, session: Session) -> Iterator[None]:
        """Let DuckDB have what taking the part's largest extraction apart needs."""
        needed_mb = _WORKING_COPIES * max((page.longest for page in part.pages), default=0) // 1_000_000
        if needed_mb <= self._memory_limit_mb:
            yield
            return
        log.warning(
            "An extraction of %s MB is in the part; DuckDB may use %s MB to take it apart.",
            needed_mb // _WORKING_COPIES,
            needed_mb,
        )
        session.run("raise memory limit", f"SET memory_limit = '{needed_mb}MB'")
        try:
            yield
        finally:
            session.run("restore memory limit", f"SET memory_limit = '{self._memory_limit_mb}MB'")

    def runs_in_review(self, extend_conn_id: str, *, include_deleted: bool = False) -> Iterator[LandedRun]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.runs_in_review`."""
        session = Session(self._connection.cursor(), f"Runs in review in {self.path}")
        return landed_runs.runs_in_review(
            session, self.dataset, extend_conn_id, include_deleted=include_deleted
        )

    def note_deleted_runs(self, run_ids: Iterable[str], message: str) -> int:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.note_deleted_runs`."""
        session = Session(self._connection, f"Deleted runs in {self.path}")
        with tempfile.TemporaryDirectory(prefix="extend-deleted-") as folder:
            staged = StagedFile(Path(folder) / "runs.ndjson")
            for run_id in run_ids:
                staged.write({"run_id": run_id})
            staged.close()
            return (
                landed_runs.note_deleted_runs(session, self.dataset, staged, message) if staged.lines else 0
            )

    def held_runs(self, *, dag_id: str, run_id: str, group_id: str) -> Iterator[LandedRun]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.held_runs`."""
        session = Session(self._connection.cursor(), f"Held runs in {self.path}")
        return landed_runs.held_runs(session, self.dataset, dag_id=dag_id, run_id=run_id, group_id=group_id)

    def counts(self) -> dict[str, int]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.counts`."""
        session = Session(self._connection, f"Counting {self.path}")
        tables = session.rows(
            "list tables",
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() "
            f"AND schema_name = {literal(self.dataset)} ORDER BY table_name",
        )
        return {
            table: session.rows("count rows", f"SELECT count(*) FROM {quoted(self.dataset)}.{quoted(table)}")[
                0
            ][0]
            for (table,) in tables
        }


def _is_locked(error: BaseException | None) -> bool:
    return type(error).__name__ == "IOException" and _LOCKED in str(error)


def _holder(error: BaseException | None) -> str:
    found = _HOLDER.search(str(error))
    return f" (process {found[1]})" if found else ""
