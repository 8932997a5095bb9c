"""The content of an object for an upload to Extend: a stream that can go back to its start.

An upload that is retried reads from the start again. Only a piece of the content is in memory.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO, Literal, cast

from extend_pipeline.exceptions import PipelineSourceError


class UnreadableError(Exception):
    """An object exists and its content cannot be read; no other object is affected.

    :param reason: one of the reasons of documents.py; ``message`` explains it to a person.
    """

    def __init__(self, reason: str, message: str, status: Literal["FAILED", "SKIPPED"] = "FAILED") -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


@contextlib.contextmanager
def breaking_off(uri: str) -> Iterator[None]:
    """Turn the errors of the stores' libraries into one that names the object and may be retried.

    :raises PipelineSourceError: if reading breaks off in the block.
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
    # Imported here, because parsing a DAG needs neither.
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    return OSError, EOFError, BotoCoreError, HTTPError


def spooled(uri: str, copy: Callable[[IO[bytes]], object]) -> BinaryIO:
    """Return content that its store streams only once, in a temporary file without a name.

    :param copy: writes the content into the file.
    :raises PipelineSourceError: if the transfer breaks off.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
    try:
        with breaking_off(uri):
            copy(file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return cast("BinaryIO", file)


class Content(io.RawIOBase):
    """A stream of content; going back to the start requests the content again.

    :param uri: the address of the object, for errors.
    :param size: in bytes.
    :param opened: the answer to the first request.
    :param reopen: requests the content again.
    """

    def __init__(self, uri: str, size: int, opened: IO[bytes], reopen: Callable[[], IO[bytes]]) -> None:
        self._uri, self._size, self._reopen = uri, size, reopen
        self._stream: IO[bytes] | None = opened
        self._read = 0
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: it can be read again from its start, and measured."""
        return True

    def tell(self) -> int:
        """Return the position of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; nothing is requested before something is read there."""
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
            self._close_stream()  # it cannot be read any further
            raise
        self._position = self._read = self._read + len(piece)
        return piece

    def _piece(self, size: int | None) -> bytes:
        if self._stream is None or self._read != self._position:
            if self._position:
                raise io.UnsupportedOperation("Content is read from its start on.")
            self._close_stream()
            self._stream, self._read = self._reopen(), 0
        # The libraries' streams take None for "the rest", but not all of them a negative number.
        piece = cast("Any", self._stream).read(size)
        if not piece:
            raise EOFError
        return cast("bytes", piece)

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Close the connection to the store."""
        self._close_stream()
        super().close()
