"""Finds processes by a mark in their environment, and kills those that outlive their owner.

A mark is an environment variable, which all children inherit, including daemons. The guard is a process that
reads from a pipe whose only writer is its owner. The pipe closes when the owner ends, even by SIGKILL; the
guard then kills every process with the owner's mark.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

#: The mark of all processes that an owner starts through :mod:`sandbox.stack.processes.process`.
OWNER_VARIABLE = "SANDBOX_STACK_OWNER"


def is_alive(process: psutil.Process) -> bool:
    """Return True if the process runs and is no zombie, which stays listed until its parent reaps it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Return the living processes with a mark, including orphans, without this process."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            carries = process.pid != os.getpid() and process.environ().get(variable) == value
            if carries and is_alive(process):
                found.append(process)
    return found


def kill_all(find: Callable[[], list[psutil.Process]], timeout: float = 10) -> int:
    """Kill processes until none is found, because a dying one may start another; return their number.

    :param timeout: seconds after which the remaining processes are left alone.
    """
    killed = set()
    deadline = time.monotonic() + timeout
    while (found := find()) and time.monotonic() < deadline:
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        killed.update(found)
        psutil.wait_procs(found, timeout=1)
    return len(killed)


@functools.cache
def owner_mark() -> str:
    """Return this process's mark; the first call starts the guard."""
    mark = f"{os.getpid()}-{secrets.token_hex(8)}"
    guard = subprocess.Popen(
        [sys.executable, __file__, mark],
        stdin=subprocess.PIPE,  # never written to; it closes only when this process ends
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal must not end the guard
    )
    _guards.append(guard)
    return mark


_guards: list[subprocess.Popen[bytes]] = []


if __name__ == "__main__":
    sys.stdin.buffer.read()
    kill_all(lambda: marked(OWNER_VARIABLE, sys.argv[1]), timeout=60)
