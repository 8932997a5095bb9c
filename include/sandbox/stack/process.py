"""One component of the stack: a command under a keeper, its log file, its end."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from sandbox.stack.interruption import pause

KEEPER = Path(__file__).with_name("keeper.py")

#: Seconds that a keeper may take beyond its component's grace before it is given up and killed itself.
KEEPER_SLACK_SECONDS = 10


class StackError(Exception):
    """The stack cannot do what was asked; the text says why, and what to do."""


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
    """A supervised process with all of its descendants.

    :param name: e.g. ``scheduler``.
    :param command: how to run it.
    :param log: file that takes its output; it is appended to, so that a restart keeps the earlier life.
    """

    def __init__(self, name: str, command: Command, log: Path) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.started_at = dt.datetime.now(dt.UTC)
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the component's keeper; None while it is stopped."""
        return None if self._keeper is None else self._keeper.pid

    @property
    def running(self) -> bool:
        """Whether the component has been started and has not ended."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What the component ended with by itself; None while it runs or is stopped."""
        return None if self._keeper is None else self._keeper.poll()

    def start(self) -> None:
        """Start the component; the call returns before it is ready.

        :raises StackError: it is running already.
        """
        if self.running:
            raise StackError(f"{self.name} is already running (pid {self.pid})")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.started_at = dt.datetime.now(dt.UTC)
        command = self.command
        how = ["--stop-signal", command.stop_signal, "--grace", str(command.grace)]
        how += [] if command.user is None else ["--user", str(command.user)]
        with self.log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [sys.executable, str(KEEPER), *how, "--", *command.argv],
                env=dict(command.environment),
                stdin=subprocess.PIPE,  # closed when this process ends: the keeper's sign to leave
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone
            )

    def ask_to_stop(self) -> None:
        """Ask the component to end in good order, without waiting for it."""
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()

    def stop(self, patience: float | None = None) -> None:
        """Return when the component and all of its descendants are gone.

        :param patience: seconds after which it is killed; None is the command's own grace.
        """
        if self._keeper is None:
            return
        self.ask_to_stop()
        try:
            self._keeper.wait(self.command.grace + KEEPER_SLACK_SECONDS if patience is None else patience)
        except subprocess.TimeoutExpired:
            self.kill()
        self._keeper = None

    def kill(self) -> None:
        """SIGKILL the component and all of its descendants at once, as a lost machine would."""
        if self._keeper is None:
            return
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        try:
            self._keeper.wait(KEEPER_SLACK_SECONDS)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
        self.ask_to_stop()
        self._keeper = None

    def descendants(self) -> list[psutil.Process]:
        """The component's processes, its keeper not among them; empty when it is not running."""
        if self.pid is None:
            return []
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def check_alive(self) -> None:
        """Do nothing while it runs.

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
