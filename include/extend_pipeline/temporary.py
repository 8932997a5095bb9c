"""Temporary folders, for files that have values of documents in them.

A process that is killed removes nothing, and a worker's disk outlives it. So whoever makes such a folder
first removes those whose process is gone: their lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PREFIX: Final = "extend-pipeline-"
_LOCK: Final = "lock"


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that lasts as long as the context; remove those that killed processes left."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        folder = Path(name)
        with (folder / "new").open("wb") as lock:
            with contextlib.suppress(OSError):  # a disk without locks: then nobody removes what is left
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Others see the file only once it is locked.
            (folder / "new").rename(folder / _LOCK)
            _remove_left(folder.parent)
            yield folder


def _remove_left(place: Path) -> None:
    for file in place.glob(f"{_PREFIX}*/{_LOCK}"):
        # In use, of another user, or just removed.
        with contextlib.suppress(OSError), file.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(file.parent)
