"""Comma-, semicolon- or tab-separated values, one page whose cells lie on a grid and have an A1 address."""

from __future__ import annotations

import csv
import io

from sandbox.reading.model import Box, Cell, Line, Page
from sandbox.reading.text import decode

_COLUMN_WIDTH, _ROW_HEIGHT = 96.0, 12.0
_DELIMITERS = ",;\t"


def read_csv(data: bytes, name: str) -> tuple[Page, ...]:
    """Read a table file; blank rows stay blank space between lines.

    :raises UnreadableDocument: the bytes are not text.
    """
    text = decode(data, name)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    lines = tuple(Line(cells) for at, row in enumerate(rows) if (cells := _cells(row, at)))
    width = _COLUMN_WIDTH * max(map(len, rows), default=1)
    return (Page(1, width, _ROW_HEIGHT * max(len(rows), 1), lines),)


def _delimiter(text: str) -> str:
    """The candidate that parts the most lines: a decimal comma is not on every line, a delimiter is."""
    lines = ["".join(line.split('"')[::2]) for line in text.splitlines()]
    return max(_DELIMITERS, key=lambda candidate: sum(candidate in line for line in lines))


def _cells(row: list[str], number: int) -> tuple[Cell, ...]:
    return tuple(_cell(value.strip(), number, at) for at, value in enumerate(row) if value.strip())


def _cell(value: str, row: int, column: int) -> Cell:
    left, top = column * _COLUMN_WIDTH, row * _ROW_HEIGHT
    return Cell(
        value, Box(left, top, left + _COLUMN_WIDTH, top + _ROW_HEIGHT), 1, f"{_column_name(column)}{row + 1}"
    )


def _column_name(column: int) -> str:
    """``A`` for 0, ``Z`` for 25, ``AA`` for 26."""
    name = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        name = chr(ord("A") + letter) + name
    return name
