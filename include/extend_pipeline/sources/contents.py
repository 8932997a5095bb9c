"""The content of an object on its way to Extend: a file that can go back, by the piece in memory.

An upload that is tried again begins at the start, so whoever reads must be able to go back there.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, Literal, cast

from extend_pipeline.exceptions import PipelineSourceError


class UnreadableError(Exception):
    """An object is there and its content cannot be had, which is its own affair.

    :param reason: one of the reasons of documents.py; ``message`` says it in a sentence for a person.
    """

    def __init__(self, reason: str, message: str, status: Literal["FAILED", "SKIPPED"] = "FAILED") -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


@contextlib.contextmanager
def breaking_off(uri: str) -> Iterator[None]:
    """Say which object's content broke off, whatever its store's library raises when it does.

    :raises PipelineSourceError: which may be tried again.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except _broken() as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise PipelineSourceError(
            f"{uri} could not be read to its end: {why}. Its chunk was not sent to Extend; the next attempt "
            "of this task reads it again.",
            retryable=True,
        ) from None


def _broken() -> tuple[type[Exception], ...]:
    # Not before something is read: whoever parses a DAG needs neither.
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    return OSError, EOFError, BotoCoreError, HTTPError


def spooled(uri: str, copy: Callable[[IO[bytes]], object]) -> BinaryIO:
    """Return content that cannot be read twice, in a nameless file of this machine's disk.

    :param copy: writes it into a file.
    :raises PipelineSourceError: if it breaks off.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  # whoever reads it closes it
    try:
        with breaking_off(uri):
            copy(file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast("BinaryIO", file)


class Content(io.RawIOBase):
    """Content that is read as it comes, and asked for anew when somebody goes back to its start.

    :param uri: of the object, for errors.
    :param size: in bytes.
    :param opened: what has been asked for already, at its start.
    :param reopen: asks for it anew.
    """

    def __init__(self, uri: str, size: int, opened: IO[bytes], reopen: Callable[[], IO[bytes]]) -> None:
        self._uri, self._size, self._reopen = uri, size, reopen
        self._stream: IO[bytes] | None = opened
        self._read = 0
        self._position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from its start, and measured."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is asked for until something is read there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return up to so many bytes, none at the end.

        :raises PipelineSourceError: if the content breaks off.
        """
        if self._position >= self._size:
            return b""
        try:
            with breaking_off(self._uri):
                piece = self._piece(None if size < 0 else size)
        except BaseException:
            self._close_stream()  # nothing more comes of it
            raise
        self._position = self._read = self._read + len(piece)
        return piece

    def _piece(self, size: int | None) -> bytes:
        if self._stream is None or self._read != self._position:
            if self._position:
                raise io.UnsupportedOperation("Content is read from its start on.")
            self._close_stream()
            self._stream, self._read = self._reopen(), 0
        # Libraries' own streams take None for the rest, but not each of them a negative number.
        piece = cast("Any", self._stream).read(size)
        if not piece:
            raise EOFError
        return cast("bytes", piece)

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Let go of the store's connection."""
        self._close_stream()
        super().close()
