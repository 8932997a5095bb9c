"""A copy of a file for readers, which is whole at any time and replaced in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO, Final

_READ_ONLY: Final = 0o444
#: Bytes that the kernel is asked to copy at once.
_STRETCH: Final = 1 << 30


def is_current(source: BinaryIO, destination: Path) -> bool:
    """Return whether ``destination`` is a copy of the open file as it is now."""
    return destination.exists() and _mark(destination.stat()) == _mark(os.fstat(source.fileno()))


def publish(source: BinaryIO, destination: Path) -> None:
    """Replace ``destination`` by a copy of the open file.

    The copy has the modification time of the source. A process that has the old copy open goes on reading it.
    The caller makes sure that nothing else writes to the source, or publishes to the same place, meanwhile.
    """
    state = os.fstat(source.fileno())
    destination.parent.mkdir(parents=True, exist_ok=True)
    unfinished = destination.with_name(destination.name + ".unfinished")
    with unfinished.open("wb") as copy:
        _copy(source, copy, state.st_size)
        os.fchmod(copy.fileno(), _READ_ONLY)
        copy.flush()
        os.fsync(copy.fileno())
        os.utime(copy.fileno(), ns=(state.st_atime_ns, state.st_mtime_ns))
    unfinished.replace(destination)


def _copy(source: BinaryIO, copy: BinaryIO, size: int) -> None:
    """Copy the whole file: by the kernel, which shares the blocks where the file system can, or by hand."""
    done = 0
    with contextlib.suppress(AttributeError, OSError):  # not on this system, not between these file systems
        while copied := os.copy_file_range(
            source.fileno(), copy.fileno(), min(_STRETCH, size - done), done, done
        ):
            done += copied
    if done < size:
        source.seek(0)
        copy.truncate(0)
        shutil.copyfileobj(source, copy, 1 << 20)


def _mark(state: os.stat_result) -> tuple[int, int]:
    return state.st_mtime_ns, state.st_size
