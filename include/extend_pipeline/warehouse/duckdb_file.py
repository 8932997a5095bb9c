"""A DuckDB file as the warehouse: one process at a time."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from extend_pipeline.documents import Document
from extend_pipeline.temporary import temporary_folder
from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.files import StagedFile, read_lines
from extend_pipeline.warehouse.queries import summary
from extend_pipeline.warehouse.records import (
    AS_BEFORE,
    Landing,
    LandingPolicy,
    Provenance,
    WarehouseBusyError,
    WarehouseError,
)
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.snapshot import is_current, publish
from extend_pipeline.warehouse.sql import TYPES, Columns, literal
from extend_pipeline.warehouse.transform.landing import Load
from extend_pipeline.warehouse.transform.parse import ParsedPart, parse_part

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)

#: Copies of a JSON value that DuckDB 2.0 makes while it is taken apart into rows (measured, rounded up).
_WORKING_COPIES: Final = 32
#: How many pages of a part fill DuckDB's memory, unless their extractions are short.
_PAGES_IN_MEMORY: Final = 16
#: Rows that DuckDB compresses together, and compresses again when a part adds to them: a quarter of its
#: default makes closing the file twice as fast, and the file a quarter larger (measured).
_ROW_GROUP: Final = 30_720
#: How much a commit appends to the write-ahead log; a larger one goes into the file at once. Closing would
#: empty the log into the file anyway, so that its rows would be written, and waited for, twice.
_LOGGED: Final = "1MB"
#: What the file is called in statements, whatever its name is.
_CATALOG: Final = "warehouse"
#: The longest time between two looks whether another process has closed the file, in seconds; a look takes
#: about a millisecond.
_LOOK_AGAIN: Final = 0.25
_HOLDER: Final = re.compile(r"PID (\d+)")
#: How DuckDB says that another process has the file, or this one in another place.
_LOCKED: Final = ("Could not set lock", "Unique file handle conflict")


class DuckDBWarehouse(Warehouse):
    """See :class:`extend_pipeline.warehouse.api.Warehouse`.

    Only one process can have a DuckDB file open, not even for reading. The file is opened when it is first
    needed, so that a part is read before, and closed when the context is left.

    :param memory_limit_mb: what DuckDB may use; beyond it, DuckDB works on disk beside the file. The limit is
        raised while a part lands that has an extraction larger than 1/32 of it.
    :param threads: of DuckDB; a second one costs a landing an eighth more CPU and saves no time (measured).
    :param lock_timeout: seconds to wait while another process has the file open.
    :param snapshot: where :meth:`publish` puts a copy of the file for readers; None for nowhere.
    """

    def __init__(
        self,
        path: Path,
        dataset: str,
        *,
        conn_id: str,
        memory_limit_mb: int = 256,
        threads: int = 1,
        lock_timeout: float = 120,
        snapshot: Path | None = None,
    ) -> None:
        super().__init__(dataset, str(path))
        self.path = path
        self._conn_id = conn_id
        self._lock_timeout = lock_timeout
        self._snapshot = snapshot
        self._memory_limit_mb = memory_limit_mb
        self._config: dict[str, Any] = {
            "memory_limit": f"{memory_limit_mb}MB",
            "threads": threads,
            "temp_directory": f"{path}.tmp",
            "preserve_insertion_order": False,
        }
        self._entered = False
        self._open_connection: duckdb.DuckDBPyConnection | None = None
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._copied: BinaryIO | None = None

    def __enter__(self) -> Self:
        """Allow the file to be opened."""
        self._entered = True
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the file; what was not committed is gone."""
        while self._cursors:  # the file stays open as long as one of them is
            self._cursors.pop().close()
        if self._open_connection is not None:
            self._open_connection.close()
            self._open_connection = None
        self._entered = False
        if self._copied is not None:
            self._copied.close()
            self._copied = None

    def _connected(self) -> duckdb.DuckDBPyConnection:
        if not self._entered:
            raise WarehouseError(f"The warehouse {self.path} is closed; use it as a context manager.")
        if self._open_connection is None:
            self._open_connection = self._open()
        return self._open_connection

    def _open(self) -> duckdb.DuckDBPyConnection:
        """Open the file; make it and its folder if missing; wait while another process has it open."""
        import duckdb

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseError(
                f"The folder of {self.path} (connection {self._conn_id!r}) cannot be made: {error.strerror}."
            ) from None
        attempts = Retrying(
            retry=retry_if_exception(_is_locked),
            stop=stop_after_delay(self._lock_timeout),
            wait=wait_random_exponential(multiplier=0.05, max=_LOOK_AGAIN),
            before_sleep=self._say_that_it_waits,
            reraise=True,
        )
        try:
            with contextlib.ExitStack() as undo:
                connection = duckdb.connect(config=self._config)
                undo.callback(connection.close)
                attempts(self._attach, connection)
                undo.pop_all()
        except duckdb.Error as error:
            if _is_locked(error):
                raise WarehouseBusyError(
                    f"{self.path} (connection {self._conn_id!r}) has been open in another process"
                    f"{_holder(error)} for more than {self._lock_timeout:g} s. Only one process at a time "
                    "can open a DuckDB file. If it is another task, let it end. If it is a query tool, close "
                    "it, and let it read the copy that the connection's extra field 'snapshot' makes."
                ) from None
            raise WarehouseError(
                f"{self.path} (connection {self._conn_id!r}) cannot be opened: {error}"
            ) from None
        return connection

    def _attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Open the file in a connection: attached, because only ATTACH takes the row groups' size."""
        # Times without an offset are UTC.
        connection.execute(f"SET TimeZone = 'UTC'; SET checkpoint_threshold = '{_LOGGED}'")
        file = f"{literal(str(self.path))} AS {_CATALOG} (ROW_GROUP_SIZE {_ROW_GROUP})"
        connection.execute(f"ATTACH {file}; USE {_CATALOG}")

    def _say_that_it_waits(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1:
            log.info("%s is open in another process%s; waiting for it.", self.path, _holder(error))

    def session(self, purpose: str) -> Session:
        """Return a new session; its rows can be read while other sessions run statements."""
        cursor = self._connected().cursor()
        self._cursors.append(cursor)
        cursor.execute(f"USE {_CATALOG}")
        return Session(cursor, purpose)

    def _relation(self, session: Session, file: StagedFile, columns: Columns) -> str:
        return read_lines(file, {name: TYPES[kind] for name, kind in columns.items()})

    def _exclusive(self, session: Session) -> contextlib.AbstractContextManager[None]:
        return session.transaction()

    def begin_planning(self) -> None:
        """Do nothing: while the file is open here, no other process can open it."""

    def check_writable(self) -> None:
        """See :meth:`extend_pipeline.warehouse.api.Warehouse.check_writable`."""
        try:
            with tempfile.TemporaryFile(dir=self.path.parent):  # the log and the overflow need the folder
                super().check_writable()
        except OSError as error:
            raise WarehouseError(
                f"Documents could not land in {self.path} (connection {self._conn_id!r}): its folder cannot "
                f"be written: {error.strerror}."
            ) from None

    def publish(self) -> None:
        """Copy the file for readers: no other process can read it while it is open here.

        It does nothing if nothing has landed since the last copy. The copy of a large dataset has the counts
        that the page in Airflow shows.

        :raises WarehouseError: if the copy failed; what has landed stays.
        """
        if self._snapshot is None:
            return
        session = self.session(f"Snapshot of {self.path}")
        # A checkpoint writes the write-ahead log into the file; without entries, it does not touch the file.
        session.run("checkpoint", "CHECKPOINT")
        try:
            if self._copied is None:
                # Closed after the connection: closing it ends the lock that the process has on the file.
                self._copied = self.path.open("rb")
            if is_current(self._copied, self._snapshot):
                return
            self._keep_counts(session)
            publish(self._copied, self._snapshot)
        except OSError as error:
            raise WarehouseError(
                f"{self.path} (connection {self._conn_id!r}) could not be copied to {self._snapshot}, where "
                f"readers look: {error.strerror}. They see an earlier state; what has landed is in the file."
            ) from None
        log.info("Readers see what has landed by now in %s.", self._snapshot)

    def _keep_counts(self, session: Session) -> None:
        try:
            if summary.keep(session, self.dataset, session.columns(self.dataset)):
                session.run("checkpoint", "CHECKPOINT")
        except WarehouseError as error:
            log.warning("The counts for the page in Airflow are as old as the run before: %s", error)

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
        """See :meth:`extend_pipeline.warehouse.api.Warehouse.land`."""
        with temporary_folder() as folder:
            # Before the file is opened: meanwhile another load may have it.
            part = self.parsed(submission, raw_lines, folder, name=provenance.part)
            self._migrate(make=True)
            session = Session(self._connected(), f"Part {provenance.part} into {self.path}")
            if begin is not None:
                provenance = begin()
            with self.memory_for(part, session):
                return Load(session, self.dataset, part, provenance, policy, withhold=withhold).run()

    def parsed(
        self, submission: Iterable[Document], raw_lines: Iterable[bytes], folder: Path, *, name: str
    ) -> ParsedPart:
        """Parse a part into pages that DuckDB takes apart in the memory that it may use."""
        page_bytes = self._memory_limit_mb * 1_000_000 // _PAGES_IN_MEMORY
        return parse_part(submission, raw_lines, folder, name=name, page_bytes=page_bytes)

    @contextlib.contextmanager
    def memory_for(self, part: ParsedPart, session: Session) -> Iterator[None]:
        """Raise DuckDB's limit, if taking the part's largest extraction apart needs more."""
        if len(part.slices) > 1:
            # Until the file is closed; a later part merges small row groups with large ones.
            session.run("keep rows apart", "SET max_vacuum_tasks = 0")
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


def _is_locked(error: BaseException | None) -> bool:
    import duckdb

    return isinstance(error, duckdb.Error) and any(said in str(error) for said in _LOCKED)


def _holder(error: BaseException | None) -> str:
    found = _HOLDER.search(str(error))
    return f" (process {found[1]})" if found else ""
