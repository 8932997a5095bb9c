"""Find processes by a mark in their environment, and kill those that their owner leaves behind.

A mark is an environment variable that a process passes on to everything it starts, daemons included. The
guard is a process that reads from a pipe whose only writer is its owner. The pipe closes when the owner ends,
even by SIGKILL; the guard then kills everything that carries the owner's mark.
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

#: Carried by what a process starts through :mod:`sandbox.stack.process`.
OWNER_VARIABLE = "SANDBOX_STACK_OWNER"


def is_alive(process: psutil.Process) -> bool:
    """Return True unless the process has ended; an ended one is listed until its parent has reaped it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Return the living processes that carry a mark, orphans included; not this process."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            carries = process.pid != os.getpid() and process.environ().get(variable) == value
            if carries and is_alive(process):
                found.append(process)
    return found


def kill_all(find: Callable[[], list[psutil.Process]], timeout: float = 10) -> int:
    """Kill processes until none is found, because a dying one may still start another; return how many.

    :param timeout: seconds after which processes that cannot be killed are left alone.
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
        stdin=subprocess.PIPE,  # never written to, and closed by this process's end alone
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a terminal's Ctrl-C is not for the guard
    )
    _guards.append(guard)
    return mark


_guards: list[subprocess.Popen[bytes]] = []


if __name__ == "__main__":
    sys.stdin.buffer.read()
    kill_all(lambda: marked(OWNER_VARIABLE, sys.argv[1]), timeout=60)
