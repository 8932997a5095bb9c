"""One component of the stack: a command with everything that it starts, its log file, its end."""

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

from sandbox.stack.interruption import pause
from sandbox.stack.orphans import OWNER_VARIABLE, is_alive, kill_all, marked, owner_mark

#: Carried by each process of one component in its environment.
COMPONENT_VARIABLE = "SANDBOX_STACK_COMPONENT"

#: Seconds that the system may take to end what was killed.
KILL_SECONDS = 30


class StackError(Exception):
    """The stack cannot do what was asked. The text says why and what to do."""


class ComponentDied(StackError):  # noqa: N818 - says what happened
    """A component ended although nobody stopped it. Carries the end of its log."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a component is made of.

    :param argv: program and arguments.
    :param environment: the whole environment of the process.
    :param stop_signal: name, without SIG, of the signal that makes it end in good order.
    :param grace: seconds from that signal until what is left is killed.
    :param user: uid to run as; None is the own one.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    stop_signal: str = "TERM"
    grace: float = 8
    user: int | None = None


class Component:
    """A supervised process with everything that it starts, daemons and orphans included.

    Nothing of it outlives this process, however that ends; see :mod:`sandbox.stack.orphans`.

    :param name: e.g. ``scheduler``.
    :param command: how to run it.
    :param log: file that takes its output; it is appended to, so that a restart keeps the earlier life.
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
        """Whether the component has been started and has not ended."""
        return self._process is not None and self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """What the component ended with by itself, 128 + n for signal n; None while it runs or is stopped.

        Processes that an ended command has left behind are killed.
        """
        if self._process is None or (code := self._process.poll()) is None:
            return None
        kill_all(self.processes)
        return code if code >= 0 else 128 - code

    def start(self) -> None:
        """Start the component; the call returns before it is ready.

        :raises StackError: it is running already.
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
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone
            )

    def ask_to_stop(self) -> None:
        """Ask the component to end in good order, once, without waiting for it."""
        if self._process is not None and not self._is_asked:
            self._is_asked = True
            self._process.send_signal(signal.Signals[f"SIG{self.command.stop_signal}"])

    def stop(self, patience: float | None = None) -> None:
        """Return when the component and everything that it has started are gone.

        :param patience: seconds after which it is killed; None is the command's own grace.
        """
        if self._process is None:
            return
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.command.grace if patience is None else patience)
        self.kill()

    def kill(self) -> None:
        """SIGKILL the component with everything that it has started at once, as a lost machine would."""
        if self._process is None:
            return
        kill_all(self.processes)
        self._process.wait(KILL_SECONDS)
        self._process = None

    def processes(self) -> list[psutil.Process]:
        """Return the component's living processes, the command itself first; none while it is stopped."""
        found = marked(COMPONENT_VARIABLE, self._mark)
        with contextlib.suppress(
            psutil.NoSuchProcess
        ):  # Postgres writes over the environment of its children
            command = psutil.Process(self.pid) if self.pid else None
            children = [] if command is None else command.children(recursive=True)
            found += filter(is_alive, children)
        return sorted(set(found), key=lambda process: process.pid != self.pid)

    def check_alive(self) -> None:
        """Raise if it has ended by itself.

        :raises ComponentDied: it has ended; with its exit code and the end of its log.
        """
        if (code := self.exit_code) is not None:
            raise ComponentDied(
                f"{self.name} ended with exit code {code}. The end of {self.log}:\n{tail(self.log)}"
            )


def run_once(name: str, command: Command, log: Path, *, timeout: float) -> None:
    """Run a component that has an end of its own, and wait for it.

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
    """Return the last lines of a log, indented; a sentence when there are none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 64 * 1024))
            found = log.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        found = []
    return "\n".join(f"  {line}" for line in found) if found else "  (the log is empty)"
