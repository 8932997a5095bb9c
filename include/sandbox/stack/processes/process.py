"""One component of the stack: a command and all processes that it starts, with a log file."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from sandbox.stack.processes.interruption import pause
from sandbox.stack.processes.orphans import OWNER_VARIABLE, is_alive, kill_all, marked, owner_mark

#: The mark of all processes of one component.
COMPONENT_VARIABLE = "SANDBOX_STACK_COMPONENT"

#: Seconds for the system to end a killed process.
KILL_SECONDS = 30


class StackError(Exception):
    """The stack cannot carry out the request. The text says why and what to do."""


class ComponentDied(StackError):  # noqa: N818 - the name says what happened
    """A component ended by itself. The text has the end of its log."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The command of a component.

    :param argv: program and arguments.
    :param environment: the whole environment of the process.
    :param stop_signal: name, without SIG, of the signal that stops it.
    :param grace: seconds from that signal until the remaining processes are killed.
    :param user: uid to run as; None for the current user.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    stop_signal: str = "TERM"
    grace: float = 8
    user: int | None = None


class Component:
    """A supervised process with all processes that it starts, including daemons and orphans.

    None of them outlives this process, however it ends; see :mod:`sandbox.stack.processes.orphans`.

    :param name: e.g. ``scheduler``.
    :param log: file for its output; a restart appends to it.
    """

    def __init__(self, name: str, command: Command, log: Path) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.started_at = dt.datetime.now(dt.UTC)
        self._mark = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_asked = False

    @property
    def pid(self) -> int | None:
        """Process id of the command; None while it is stopped."""
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """True if the component was started and has not ended."""
        return self._process is not None and self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """Exit code of a component that ended by itself, 128 + n for signal n; None if it runs or is stopped.

        The remaining processes of an ended command are killed.
        """
        if self._process is None or (code := self._process.poll()) is None:
            return None
        kill_all(self.processes)
        return code if code >= 0 else 128 - code

    def start(self) -> None:
        """Start the component; the call returns before it is ready.

        :raises StackError: it is already running.
        """
        if self.running:
            raise StackError(f"{self.name} is already running (pid {self.pid})")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.started_at = dt.datetime.now(dt.UTC)
        self._is_asked = False
        marks = {OWNER_VARIABLE: owner_mark(), COMPONENT_VARIABLE: self._mark}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command.argv,
                env={**self.command.environment, **marks},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.command.user,
                extra_groups=None if self.command.user is None else [],
                start_new_session=True,  # Ctrl-C in a terminal reaches only the supervisor
            )

    def ask_to_stop(self) -> None:
        """Send the stop signal, once, without waiting."""
        if self._process is not None and not self._is_asked:
            self._is_asked = True
            self._process.send_signal(signal.Signals[f"SIG{self.command.stop_signal}"])

    def stop(self, patience: float | None = None) -> None:
        """Stop the component and return when all its processes have ended.

        :param patience: seconds after which it is killed; default: the grace of the command.
        """
        if self._process is None:
            return
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.command.grace if patience is None else patience)
        self.kill()

    def kill(self) -> None:
        """SIGKILL all processes of the component at once, as if its machine were lost."""
        if self._process is None:
            return
        kill_all(self.processes)
        self._process.wait(KILL_SECONDS)
        self._process = None

    def processes(self) -> list[psutil.Process]:
        """Return the living processes of the component, the command first; none while it is stopped."""
        found = marked(COMPONENT_VARIABLE, self._mark)
        if self.pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                # Some have no mark, because a program may overwrite its environment, as Postgres does.
                command = psutil.Process(self.pid)
                found += filter(is_alive, (command, *command.children(recursive=True)))
        return sorted(set(found), key=lambda process: process.pid != self.pid)

    def check_alive(self) -> None:
        """Raise ComponentDied, with exit code and end of the log, if the component ended by itself."""
        if (code := self.exit_code) is not None:
            raise ComponentDied(
                f"{self.name} ended with exit code {code}. The end of {self.log}:\n{tail(self.log)}"
            )


def run_once(name: str, command: Command, log: Path, *, timeout: float) -> None:
    """Run a command to its end.

    :param timeout: seconds.
    :raises ComponentDied: it ended with an error.
    :raises StackError: it did not end in time.
    """
    component = Component(name, command, log)
    component.start()
    deadline = time.monotonic() + timeout
    try:
        while component.running:
            if time.monotonic() > deadline:
                raise StackError(f"{name} did not end within {timeout:.0f} s. The end of {log}:\n{tail(log)}")
            pause(0.05)
        if component.exit_code != 0:
            component.check_alive()
    finally:
        component.stop()


def tail(path: Path, lines: int = 25) -> str:
    """Return the last lines of a log, indented, or a note that the log is empty."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 64 * 1024))
            found = log.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        found = []
    return "\n".join(f"  {line}" for line in found) if found else "  (the log is empty)"
