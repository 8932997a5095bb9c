"""Files on a disk that are there whole and for good, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final


def create(folder: str, name: str, data: bytes, *, scratch: str) -> None:
    """Create a file; when this returns, it outlives a crash of the machine.

    So does the file that is there already when this raises ``FileExistsError``: folder and file may be new,
    and their writer may not have flushed them yet.

    :param scratch: a folder on the same disk, for what is not finished.
    :raises FileExistsError: there is a file of that name; it stays as it is.
    """
    target = Path(folder)
    changed = [target, target.parent]
    with _unnamed(data, scratch) as partial:
        try:
            changed += _link(partial, target, name)
        except FileExistsError:
            _flush(changed)
            raise
        _flush(changed)


def _link(partial: str, target: Path, name: str) -> list[Path]:
    """Give a file its name; return the folders above the target's parent in which a name is new.

    A new folder appears with the file in it, so nobody can find it empty and remove it meanwhile.
    """
    changed: list[Path] = []
    while True:
        try:
            os.link(partial, target / name)
        except FileNotFoundError:
            changed += _make(target.parent)
            if not _appears(target, name, partial):
                continue  # another writer has made it by now
        return changed


def _appears(folder: Path, name: str, partial: str) -> bool:
    """Let a folder appear with a file in it; return False if there is one that is not empty."""
    made = Path(f"{partial}.folder")
    made.mkdir()
    try:
        os.link(partial, made / name)
        made.rename(folder)  # replaces an empty one
    except OSError as error:
        with contextlib.suppress(OSError):
            (made / name).unlink()
        made.rmdir()
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


@contextlib.contextmanager
def _unnamed(data: bytes, scratch: str) -> Iterator[str]:
    """Write a file under a name of its own for the block, flushed to the disk."""
    try:
        descriptor, partial = tempfile.mkstemp(dir=scratch)
    except FileNotFoundError:
        _flush(_make(Path(scratch)))
        descriptor, partial = tempfile.mkstemp(dir=scratch)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield partial
    finally:
        with contextlib.suppress(OSError):
            Path(partial).unlink()


def _make(folder: Path) -> list[Path]:
    """Make a folder, and return the folders in which a name is new."""
    missing, changed = folder, []
    while not missing.is_dir():
        missing = missing.parent
        changed.append(missing)
    if changed:
        folder.mkdir(parents=True, exist_ok=True)
    return changed


def _flush(folders: Iterable[Path]) -> None:
    for each in folders:
        _flushes.flush(str(each))


class _Flush:
    """How often a folder was flushed: begun, and ended."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.users = 0
        self.state = threading.Condition()


class _Flushes:
    """Brings the names in folders to the disk; several writers of one folder share a flush.

    A flush counts for a name that was there before it began. So a writer waits for the next one to begin, and
    begins it itself if nobody is at it.
    """

    def __init__(self) -> None:
        self._folders: dict[str, _Flush] = {}
        self._lock = threading.Lock()

    def flush(self, folder: str) -> None:
        """Return when every name that the folder has now is on the disk."""
        with self._lock:
            flush = self._folders.setdefault(folder, _Flush())
            flush.users += 1
        try:
            self._flush(folder, flush)
        finally:
            with self._lock:
                flush.users -= 1
                if not flush.users:
                    del self._folders[folder]

    @staticmethod
    def _flush(folder: str, flush: _Flush) -> None:
        with flush.state:
            wanted = flush.begun + 1
            while flush.ended < wanted:
                if flush.begun > flush.ended:
                    flush.state.wait()
                    continue
                flush.begun += 1
                flush.state.release()
                try:
                    _fsync(folder)
                except BaseException:
                    flush.state.acquire()
                    flush.begun -= 1  # the others try for themselves
                    flush.state.notify_all()
                    raise
                flush.state.acquire()
                flush.ended = flush.begun
                flush.state.notify_all()


def _fsync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_flushes: Final = _Flushes()
