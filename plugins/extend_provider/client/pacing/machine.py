"""The shares of a limit that the processes of a machine have, in a file: see :mod:`.shares`.

A task that reads a thousand runs at 75 per second takes thirteen seconds. If each had to find the limit
itself, it would take three to six more (measured), and slow down the processes that share it already.

The file has figures only. It is of one user, connection and category, in the temporary directory. What cannot
be read or written there costs time and nothing else. Workers that share no disk keep to the limit by Extend's
answers alone.
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
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from extend_provider.client.pacing.shares import Share, divide, kept, leave

if TYPE_CHECKING:
    from extend_provider.client.pacing.limits import Category, ConnectionLimits

#: Seconds between two looks of a process at what others have.
LOOK_SECONDS: Final = 0.5
#: How a process gets the file for itself: nobody has it for longer than a moment, and the event loop waits.
_LOCKING: Final = Retrying(
    retry=retry_if_exception_type(BlockingIOError),
    stop=stop_after_attempt(10),
    wait=wait_fixed(0.01),
    reraise=True,
)
_DECODER: Final = msgspec.json.Decoder(list[Share])

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def shared(limits: ConnectionLimits, category: Category) -> AsyncIterator[None]:
    """Share the limit of a category with the other processes of this machine.

    For tasks that send many requests of one category; what else a process sends keeps to the same limits. The
    blocks of one process have one share, which is left to others at the end of the last one.
    """
    limits.users[category] += 1
    _look(limits, category, wants=True)
    looking = asyncio.create_task(_keep_looking(limits, category))
    try:
        yield
    finally:
        looking.cancel()
        limits.users[category] -= 1
        if not limits.users[category]:
            _leave(limits, category)


async def _keep_looking(limits: ConnectionLimits, category: Category) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        _look(limits, category, wants=limits.is_short(category))


def _look(limits: ConnectionLimits, category: Category, *, wants: bool) -> None:
    now = time.time()
    own = Share.of(limits.process, now, limits.learnt(category), wants=wants)
    before = limits.looked_at.get(category, now)
    after = with_shares(limits.key, category, lambda shares: divide(shares, kept(shares, own, before)))
    limits.looked_at[category] = now
    if after and (learnt := after[0].learnt) is not None:
        limits.share(category, learnt, partners=sum(each.wants for each in after[1:]))


def _leave(limits: ConnectionLimits, category: Category) -> None:
    now = time.time()
    own = Share.of(limits.process, now, limits.learnt(category, lasting=True))
    before = limits.looked_at.pop(category, now)
    after = with_shares(limits.key, category, lambda shares: leave(shares, kept(shares, own, before)))
    if after is not None and own.level:
        limits.forget(category)


def with_shares(key: str, category: str, change: Callable[[list[Share]], list[Share]]) -> list[Share] | None:
    """Change the shares while no other process does; return them, or None if the disk has no way.

    :param key: of the connection.
    """
    try:
        with _file(f"{key} {category}").open("a+b") as file:
            _LOCKING(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shares = change(_read(file))
            file.truncate(0)
            file.write(msgspec.json.encode(shares))
            return shares
    except OSError as error:
        log.debug("The %s limit is not shared through the disk: %s", category, error.strerror)
        return None


def _file(key: str) -> Path:
    """Return the file of a limit, in a folder that is this user's alone.

    :raises OSError: if the folder cannot be made, or somebody else has made it.
    """
    folder = Path(tempfile.gettempdir()) / f"extend-limits-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "the folder is not this user's", str(folder))
    return folder / hashlib.sha256(key.encode()).hexdigest()


def _read(file: BinaryIO) -> list[Share]:
    file.seek(0)
    try:
        return _DECODER.decode(file.read() or b"[]")
    except msgspec.DecodeError:  # another version's
        return []
