"""Run one command so that neither it nor anything that it starts outlives this process or its parent.

One keeper stands between the supervisor and each component. It holds the read end of a pipe that only the
supervisor can write to: the end of that pipe is the end of the supervisor, however it died. It adopts what
its descendants orphan (Linux), waits for them, and leaves when nothing of them is left.

    python keeper.py --stop-signal INT --grace 10 -- command argument …

Leaves with the command's own exit code, or 128 + n when signal n ended it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command given on the command line; see the module."""
    parser = argparse.ArgumentParser(description="Run a command; let nothing of it survive.")
    parser.add_argument("--stop-signal", default="TERM", help="signal that asks the command to stop")
    parser.add_argument("--grace", type=float, default=10, help="seconds from that signal to SIGKILL")
    parser.add_argument("--user", type=int, help="uid to run the command as; needs root")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()

    wakeups = _wake_on_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    command = subprocess.Popen(
        arguments.command,
        stdin=subprocess.DEVNULL,
        user=arguments.user,
        extra_groups=None if arguments.user is None else [],
        start_new_session=True,
        preexec_fn=lambda: _die_with(keeper),
    )
    family = _Family(command.pid)
    while family.exit_code is None and not _stop_requested(wakeups):
        family.reap()
    if family.exit_code is None:
        with contextlib.suppress(ProcessLookupError):
            command.send_signal(signal.Signals[f"SIG{arguments.stop_signal}"])
    family.wait_until_gone(arguments.grace)
    return family.exit_code if family.exit_code is not None else 128 + signal.SIGKILL


class _Family:
    """The command and all of its descendants, orphans included.

    :param pid: process id of the command.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.exit_code: int | None = None

    def reap(self) -> None:
        """Collect the children that have ended, and remember the command's exit code."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._pid:
                    code = os.waitstatus_to_exitcode(status)
                    self.exit_code = code if code >= 0 else 128 - code

    def wait_until_gone(self, grace: float) -> None:
        """Return when no descendant is left; kill those that remain after ``grace`` seconds.

        What a command that has already ended leaves behind has nobody to report to: it is killed at once.
        """
        deadline = time.monotonic() + grace
        while descendants := psutil.Process().children(recursive=True):
            if time.monotonic() >= deadline or self.exit_code is not None:
                for process in descendants:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            time.sleep(0.05)
            self.reap()
        if (
            sys.platform != "linux"
        ):  # orphans are adopted elsewhere, but they keep the command's process group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)


def _wake_on_signals(*signals: signal.Signals) -> socket.socket:
    """Return a socket that receives each of these signals as one byte, its number."""
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(sender.detach())
    return receiver


def _stop_requested(wakeups: socket.socket) -> bool:
    """Wait for news; True when it is the parent's end or a signal to stop, False when a child has ended."""
    ready, _, _ = select.select([sys.stdin, wakeups], [], [])
    if sys.stdin in ready:
        return True
    return any(number != signal.SIGCHLD for number in wakeups.recv(64))


def _die_with(keeper: int) -> None:
    """Have the kernel kill the calling process when the keeper is killed (Linux)."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:  # it died before the line above
        os._exit(128 + signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
        if prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


if __name__ == "__main__":
    sys.exit(main())
