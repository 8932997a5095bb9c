"""The stack's home: one folder with all its files, owned by one running stack at a time.

Invariant: the process that holds the lock on ``stack.lock`` owns the home. The kernel releases the lock when
that process ends, however it ends, so a state file without a lock belongs to a killed stack.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import IO

import msgspec
import psutil

from sandbox.stack.processes.orphans import kill_all, marked
from sandbox.stack.processes.process import StackError

#: Environment variable of each process of a stack; its value is the home.
HOME_VARIABLE = "SANDBOX_STACK_HOME"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The published state of a running stack: its addresses and the login.

    :param started_at: RFC 3339, UTC.
    """

    started_at: str
    airflow_url: str
    username: str
    password: str
    extend_url: str
    s3_url: str
    warehouse: str


class Home:
    """The folder and its lock.

    :param path: the folder; created by :meth:`take`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock: IO[bytes] | None = None

    @property
    def logs(self) -> Path:
        """Folder with the log file of each component."""
        return self.path / "logs"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file of the pipeline's warehouse."""
        return self.path / "warehouse.duckdb"

    @property
    def workspace(self) -> Path:
        """Folder of the pipeline's chunk files and raw zone."""
        return self.path / "workspace"

    @property
    def _state_file(self) -> Path:
        return self.path / "stack.json"

    @property
    def _lock_file(self) -> Path:
        return self.path / "stack.lock"

    def take(self) -> None:
        """Make this process the owner of the home, and remove the files of an earlier stack.

        :raises StackError: a stack is running here, or the folder has other files.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._lock_file.exists() and any(self.path.iterdir()):
            raise StackError(f"{self.path} has files that are not of a stack; choose a new or empty folder")
        lock = self._lock_file.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StackError(self._already_running()) from None
        self._lock = lock
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        lock.flush()
        self.kill_strays()
        for entry in self.path.iterdir():
            if entry == self._lock_file:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def release(self) -> None:
        """Release the home. Logs, warehouse and workspace stay until the home is taken again."""
        if self._lock is None:
            return
        self._state_file.unlink(missing_ok=True)
        self._lock.close()
        self._lock = None

    def write_state(self, state: State) -> None:
        """Publish the state of this stack, readable only by this user."""
        with open(self._state_file, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(msgspec.json.format(msgspec.json.encode(state)))

    def read_state(self) -> State | None:
        """Return the state of the running stack; None if no stack is running or ready."""
        if not self.is_taken():
            return None
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode(self._state_file.read_bytes(), type=State)
        return None

    def is_taken(self) -> bool:
        """Return True if a stack owns the home."""
        try:
            with self._lock_file.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def owner(self) -> int | None:
        """Return the process id of the stack that owns the home; None if there is none."""
        if not self.is_taken():
            return None
        return int(self._lock_file.read_text() or 0) or None

    def strays(self) -> list[psutil.Process]:
        """Return the living processes of this home's stacks, including orphans, without this process."""
        return marked(HOME_VARIABLE, str(self.path))

    def kill_strays(self, patience: float = 15) -> int:
        """Wait for the guard of a killed stack, then kill the remaining processes; return their number.

        :param patience: seconds to wait for the guard.
        """
        deadline = time.monotonic() + patience
        while self.strays() and time.monotonic() < deadline:
            time.sleep(0.2)
        return kill_all(self.strays)

    def _already_running(self) -> str:
        state = self.read_state()
        if state is None:
            return f"a stack is starting or stopping in {self.path}; wait for it"
        return (
            f"a stack is already running in {self.path} (pid {self.owner()}), "
            f"Airflow at {state.airflow_url}. Stop it with `python -m sandbox.stack down`."
        )
