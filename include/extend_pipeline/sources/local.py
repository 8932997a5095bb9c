"""Files in folders of this machine, or of a disk that all workers share: ``file:///folder/``.

One folder is listed at a time, sorted by name; memory is bounded by the largest folder. The tag of a file is
its modification time and size; of a link, those of its target.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, Final

from extend_pipeline.documents import NOT_A_FILE, OBJECT_DELETED, OBJECT_UNREADABLE
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources.contents import UnreadableError, spooled
from extend_pipeline.sources.objects import (
    Absent,
    Found,
    Located,
    ObjectChangedError,
    Unusable,
    dated_tag,
    forbidden,
    plausible_time,
    unlisted_folder,
)

#: Whether the system can check the rights of the effective user, by which files are opened.
_EFFECTIVE_IDS: Final = os.access in os.supports_effective_ids
_ABSENT: Final = (FileNotFoundError, NotADirectoryError)


@dataclasses.dataclass(frozen=True, slots=True)
class LocalStore:
    """Files that this process may read; see :class:`~extend_pipeline.sources.objects.Store`."""

    def pages(self, prefix: Located) -> Iterator[list[Found | Unusable]]:
        """Yield one folder at a time. A link to a folder is not followed, because it may form a cycle.

        A file that is deleted during the listing is left out.
        """
        top = prefix.key.rpartition("/")[0]
        folders = [top]
        while folders:
            folder = folders.pop()
            try:
                found = _keys(folder)
            except OSError as error:
                if folder == top:
                    raise _unlisted(prefix, error) from None
                if not isinstance(error, _ABSENT):
                    yield [unlisted_folder(folder)]
                continue
            leading = [key for key in found if f"{key}/".startswith(prefix.key[: len(key) + 1])]
            below = dict.fromkeys(key for key in leading if _is_folder(key))
            folders += reversed(below)
            seen = (_state_of(key) for key in leading if key.startswith(prefix.key) and key not in below)
            if page := [each for each in seen if not isinstance(each, Absent)]:
                yield page

    def look_up(self, place: Located) -> Found | Absent | Unusable:
        """Return the state of the file."""
        return _state_of(place.key)

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> None:
        """Return None: only this machine can read the file."""

    def check_signing(self, expires_in: int) -> None:
        """Nothing is signed."""

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Copy the file, and check before and afterwards that it still has this tag."""

        def copy(file: IO[bytes]) -> None:
            with Path(f"/{place.key}").open("rb") as source:
                shutil.copyfileobj(source, file)

        self._check(place, found_tag)  # never open a pipe: that waits for a writer
        try:
            content = spooled(place.uri, copy)
        except (FileNotFoundError, PermissionError):
            self._check(place, found_tag)
            raise
        try:
            self._check(place, found_tag)
        except BaseException:
            content.close()
            raise
        return content

    def _check(self, place: Located, found_tag: str) -> None:
        """Check that the file still has this tag, and may be read."""
        now = self.look_up(place)
        if isinstance(now, Unusable):
            raise UnreadableError(*now[1:])
        if not isinstance(now, Found) or now.tag != found_tag:
            raise ObjectChangedError(f"{place.uri} was replaced or deleted while it was read.")


def _keys(folder: str) -> list[str]:
    beginning = f"{folder}/" if folder else ""
    return sorted(f"{beginning}{path.name}" for path in Path(f"/{folder}").iterdir())


def _is_folder(key: str) -> bool:
    try:
        return stat.S_ISDIR(Path(f"/{key}").lstat().st_mode)
    except OSError:
        return False


def _state_of(key: str) -> Found | Absent | Unusable:
    """Return the state of a file, or of a link's target; a folder is no file."""
    path = Path(f"/{key}")
    try:
        stats = path.stat()
        is_readable = os.access(path, os.R_OK, effective_ids=_EFFECTIVE_IDS)
    except PermissionError:
        return forbidden(key)
    except _ABSENT:
        if path.is_symlink():
            return Unusable(key, OBJECT_DELETED, "This is a link whose target does not exist.")
        return Absent()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Unusable(key, OBJECT_DELETED, "This is a link that refers to itself.")
        return Unusable(key, OBJECT_UNREADABLE, f"The file's state cannot be read: {error.strerror}.")
    if stat.S_ISDIR(stats.st_mode):
        return Absent()
    if not stat.S_ISREG(stats.st_mode):
        message = "This is a pipe, a socket or a device, not a file."
        return Unusable(key, NOT_A_FILE, message, "SKIPPED")
    if not is_readable:
        return forbidden(key)
    modified = plausible_time(stats.st_mtime)
    # Some disks hold impossible times.
    tag = dated_tag(modified, stats.st_size) if modified else f"{stats.st_mtime_ns}-{stats.st_size}"
    return Found(key, tag, stats.st_size, modified)


def _unlisted(prefix: Located, error: OSError) -> PipelineInputError:
    what = "does not exist" if isinstance(error, _ABSENT) else f"may not be listed ({error.strerror})"
    return PipelineInputError(
        f"The folder of {prefix.uri!r} {what}, seen from this worker. Nothing was sent to Extend. "
        "Check the address, and the rights of the user that tasks run as."
    )
