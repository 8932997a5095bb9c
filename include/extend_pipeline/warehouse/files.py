"""Files that DuckDB reads, for rows that memory should not hold."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from extend_pipeline.temporary import temporary_folder
from extend_pipeline.warehouse.sql import literal

#: What separates the columns of a page: a control character, which no JSON text has in it.
SEPARATOR: Final = "\x1f"
#: Bytes of a file that are written at once.
_BUFFER: Final = 1 << 18


class StagedFile:
    """A file of lines that is being written.

    :ivar lines: the number of lines so far; ``size``: the bytes so far.
    :ivar longest: the bytes of the longest line, which DuckDB has to know.
    :ivar reviewed: whether a line has a value from before a review.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = self.size = self.longest = 0
        self.reviewed = False
        self._file = path.open("wb", buffering=_BUFFER)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append ``record``."""
        self.write_line(msgspec.json.encode(record) + b"\n")

    def write_line(self, line: bytes) -> None:
        """Append a line that ends in a newline."""
        self._file.write(line)
        self.lines += 1
        self.size += len(line)
        if len(line) > self.longest:
            self.longest = len(line)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


@contextlib.contextmanager
def staged(lines: Iterable[bytes]) -> Iterator[StagedFile]:
    """Write lines to a file that lasts as long as the context."""
    with temporary_folder() as folder:
        file = StagedFile(folder / "records.ndjson")
        try:
            for line in lines:
                file.write_line(line)
        finally:
            file.close()
        yield file


def staged_records(records: Iterable[Mapping[str, Any]]) -> contextlib.AbstractContextManager[StagedFile]:
    """Write records to a file that lasts as long as the context."""
    return staged(msgspec.json.encode(record) + b"\n" for record in records)


def read_lines(file: StagedFile, columns: Mapping[str, str]) -> str:
    """Return the relation that reads JSON lines; values are text or JSON, so that none can abort the load."""
    fields = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in columns.items())
    return (
        f"read_json({literal(str(file.path))}, format = 'newline_delimited', columns = {{{fields}}}, "
        f"maximum_object_size = {max(file.longest + 1, 1 << 20)})"
    )


def read_texts(file: StagedFile, columns: Mapping[str, str]) -> str:
    """Return the relation that reads lines of separated texts as they are; an empty text is NULL."""
    fields = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in columns.items())
    line = max(file.longest + 1, 1 << 20)
    return (
        f"read_csv({literal(str(file.path))}, auto_detect = false, header = false, columns = {{{fields}}}, "
        f"delim = {literal(SEPARATOR)}, quote = '', escape = '', new_line = '\\n', "
        f"max_line_size = {line}, buffer_size = {2 * line})"
    )
