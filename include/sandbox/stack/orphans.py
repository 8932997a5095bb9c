"""Processes by the marks in their environments; and the guard, which kills what its owner leaves behind.

A mark is a variable that a process hands down to whatever it starts, daemons included. The guard is a process
that holds the read end of a pipe to which only its owner can write: the end of that pipe is the end of the
owner, however it died. The guard then kills everything that carries the owner's mark.
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
    """Whether a process has not ended; one that has may be listed until its parent has taken notice."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Return the living processes that carry a mark, whoever their parent is by now; not this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            carries = process.pid != os.getpid() and process.environ().get(variable) == value
            if carries and is_alive(process):
                found.append(process)
    return found


def kill_all(find: Callable[[], list[psutil.Process]], timeout: float = 10) -> int:
    """Kill what is found until nothing is, because the dying may still start something; return how many.

    :param timeout: seconds after which what cannot be killed is left alone.
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
