"""A DuckDB file as the warehouse: one process at a time, one transaction per part."""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.landing import Load
from extend_pipeline.warehouse.records import Landing, Provenance, WarehouseBusyError, WarehouseError
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.sql import literal, quoted, read_lines
from extend_pipeline.warehouse.staging import StagedFile, StagedPart, stage

if TYPE_CHECKING:
    import duckdb

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
        self, candidates: Iterable[Document] | os.PathLike[str], *, workflow_id: str, version: str | None
    ) -> Iterator[Document]:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.unlanded`.

        The candidates pass through a local file, and one anti-join finds the positions of those that have
        landed: memory does not grow with their number.
        """
        with tempfile.TemporaryDirectory(prefix="extend-discovery-") as folder:
            staged = StagedFile(Path(folder) / "candidates.ndjson")
            for position, line in enumerate(_candidate_lines(candidates)):
                staged.write_line(b'{"position":%d,%s' % (position, line.lstrip()[1:]))
            staged.close()
            landed = self._landed_positions(staged, workflow_id, version or "")
            next_landed = next(landed, None)
            with staged.path.open("rb") as lines:
                for position, line in enumerate(lines):
                    if position == next_landed:
                        next_landed = next(landed, None)
                    else:
                        yield Document.from_mapping(json.loads(line))

    def _landed_positions(self, candidates: StagedFile, workflow_id: str, version: str) -> Iterator[int]:
        """Yield in order the positions of the candidates that have a run here."""
        session = Session(self._connection.cursor(), f"Discovery in {self.path}")
        tables = session.rows(
            "find documents",
            "SELECT 1 FROM duckdb_tables() WHERE table_name = 'documents' "
            f"AND database_name = current_database() AND schema_name = {literal(self.dataset)}",
        )
        if not tables or not candidates.lines:
            return
        columns = {"position": "BIGINT", "document_id": "VARCHAR", "status": "VARCHAR"}
        pages = session.pages(
            "find landed documents",
            f"""SELECT position FROM {read_lines(candidates, columns)} AS candidate
                SEMI JOIN {quoted(self.dataset)}.documents AS document
                  ON document.document_id = candidate.document_id AND document.workflow_id = ?
                     AND document.workflow_version_requested = ? AND document.run_id IS NOT NULL
                WHERE candidate.status IS NULL
                ORDER BY position""",
            [workflow_id, version],
        )
        for page in pages:
            yield from (position for (position,) in page)

    def land(
        self, submission: Iterable[Document], raw_lines: Iterable[bytes], *, provenance: Provenance
    ) -> Landing:
        """See :meth:`extend_pipeline.warehouse.records.Warehouse.land`."""
        session = Session(self._connection, f"Part {provenance.part} into {self.path}")
        with tempfile.TemporaryDirectory(prefix="extend-load-") as folder:
            part = stage(submission, raw_lines, Path(folder), name=provenance.part)
            with self._memory_for(part, session):
                return Load(session, self.dataset, part, provenance).run()

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


def _candidate_lines(candidates: Iterable[Document] | os.PathLike[str]) -> Iterator[bytes]:
    if isinstance(candidates, os.PathLike):
        # A local path or an ObjectStoragePath.
        path = candidates if hasattr(candidates, "open") else Path(candidates)
        with path.open("rb") as lines:
            yield from (line.rstrip() + b"\n" for line in lines if line.strip())
    else:
        yield from (f"{document.to_json()}\n".encode() for document in candidates)


def _is_locked(error: BaseException | None) -> bool:
    return type(error).__name__ == "IOException" and _LOCKED in str(error)


def _holder(error: BaseException | None) -> str:
    found = _HOLDER.search(str(error))
    return f" (process {found[1]})" if found else ""
