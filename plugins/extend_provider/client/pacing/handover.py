"""What was learnt of a limit, handed from a process that is done to the next one on the same machine.

A task that reads a thousand runs at 75 per second takes thirteen seconds. If it had to find the limit itself,
it would take three to six more (measured), and slow down the processes that share the limit already. So each
task leaves its level in a file, and the next one takes it from there. A level that nobody takes within
:data:`SUCCESSOR_SECONDS` goes to a process that is still at work.

The file has figures only. It is of one user and one connection, in the temporary directory. What cannot be
read or written there costs time and nothing else. Workers that share no disk hand over nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

import msgspec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from extend_provider.client.pacing.level import Learnt

if TYPE_CHECKING:
    from extend_provider.client.pacing.limits import Category, ConnectionLimits

#: Seconds for which a level waits for the task that comes next, and until it is not worth taking any more.
SUCCESSOR_SECONDS, WORTH_SECONDS = 10.0, 600.0
#: Seconds between two looks of a process at what others have left.
LOOK_SECONDS: Final = 2.0
#: How a process gets the file for itself: nobody has it for longer than a moment, and the event loop waits.
_LOCKING: Final = Retrying(
    retry=retry_if_exception_type(BlockingIOError),
    stop=stop_after_attempt(10),
    wait=wait_fixed(0.01),
    reraise=True,
)

T = TypeVar("T")

log = logging.getLogger(__name__)


class Left(msgspec.Struct, frozen=True):
    """A level that a process has left.

    :param at: seconds since the epoch.
    """

    category: str
    at: float
    learnt: Learnt


_DECODER: Final = msgspec.json.Decoder(list[Left])


@contextlib.asynccontextmanager
async def handed_over(limits: ConnectionLimits, category: Category) -> AsyncIterator[None]:
    """Begin with what the process before has learnt of a category, and leave it to the next one at the end.

    For tasks that send many requests of one category; what else a process sends keeps to the same limits. Of
    several blocks of one process the first one begins with it and the last one leaves it.
    """
    limits.users[category] += 1
    if not limits.is_learnt(category):
        _take_over(limits, category)
    absorbing = asyncio.create_task(_absorb(limits, category))
    try:
        yield
    finally:
        absorbing.cancel()
        limits.users[category] -= 1
        learnt = None if limits.users[category] else limits.learnt(category)
        if learnt is not None and leave(limits.key, category, learnt):
            limits.forget(category)


async def _absorb(limits: ConnectionLimits, category: Category) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if limits.is_learnt(category):
            _take_over(limits, category, waits=SUCCESSOR_SECONDS)


def _take_over(limits: ConnectionLimits, category: Category, *, waits: float = 0.0) -> None:
    learnt = take(limits.key, category, waits=waits)
    if learnt is not None:
        limits.take_over(category, learnt)
        log.info(
            "Connection %s: with the share of a process that has ended, this one now sends up to %.3g %s "
            "requests per second.",
            limits.name,
            limits.rate(category),
            category,
        )


def take(key: str, category: str, *, waits: float = 0.0) -> Learnt | None:
    """Return the highest level that was left, and remove it; None if there is none.

    :param key: of the connection.
    :param waits: seconds for which it must have been there.
    """

    def taken(left: list[Left]) -> Learnt | None:
        now = time.time()
        ready = [each for each in left if each.category == category and now - each.at >= waits]
        if not ready:
            return None
        best = max(ready, key=lambda each: each.learnt.level)
        left.remove(best)
        step_in = max(best.learnt.step_in - (now - best.at), 0.0)
        return msgspec.structs.replace(best.learnt, step_in=step_in)

    return _with_left(key, taken)


def leave(key: str, category: str, learnt: Learnt) -> bool:
    """Leave a level to another process; return whether that was possible."""

    def added(left: list[Left]) -> bool:
        left.append(Left(category, time.time(), learnt))
        return True

    return _with_left(key, added) is True


def _with_left(key: str, change: Callable[[list[Left]], T]) -> T | None:
    """Change what was left and is worth taking, while no other process does; None if the disk has no way."""
    try:
        with _file(key).open("a+b") as file:
            _LOCKING(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            before = _read(file)
            left = [each for each in before if 0 <= time.time() - each.at < WORTH_SECONDS]
            result = change(left)
            if left != before:
                file.truncate(0)
                file.write(msgspec.json.encode(left))
            return result
    except OSError as error:
        log.debug("What was learnt of a limit is not handed over: %s", error.strerror)
        return None


def _file(key: str) -> Path:
    """Return the file of a connection, in a folder that is this user's alone.

    :raises OSError: if the folder cannot be made, or somebody else has made it.
    """
    folder = Path(tempfile.gettempdir()) / f"extend-limits-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "the folder is not this user's", str(folder))
    return folder / hashlib.sha256(key.encode()).hexdigest()


def _read(file: BinaryIO) -> list[Left]:
    file.seek(0)
    try:
        return _DECODER.decode(file.read() or b"[]")
    except msgspec.DecodeError:  # another version's
        return []
