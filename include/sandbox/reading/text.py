"""Reads plain text, laid out on letter paper with twelve characters and six lines per inch."""

from __future__ import annotations

import re

from sandbox.reading.model import CORRUPT_FILE, Box, Cell, Line, Page, UnreadableDocument

PAGE_WIDTH, PAGE_HEIGHT = 612.0, 792.0
LINE_HEIGHT, CHARACTER_WIDTH = 12.0, 6.0
_LINES_PER_PAGE = int(PAGE_HEIGHT // LINE_HEIGHT)
#: A cell ends at two spaces or a tab.
_CELL = re.compile(r"\S+(?: \S+)*")


def decode(data: bytes, name: str) -> str:
    """Decode UTF-8, UTF-16 with a byte order mark, or Windows-1252.

    :raises UnreadableDocument: the bytes are not text.
    """
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise UnreadableDocument(CORRUPT_FILE, name, "the content is not text in any known encoding")


def read_text(data: bytes, name: str) -> tuple[Page, ...]:
    """Read a text file.

    :raises UnreadableDocument: the bytes are not text.
    """
    rows = decode(data, name).expandtabs(8).splitlines()
    return tuple(
        _page(number, rows[start : start + _LINES_PER_PAGE])
        for number, start in enumerate(range(0, max(len(rows), 1), _LINES_PER_PAGE), start=1)
    )


def _page(number: int, rows: list[str]) -> Page:
    width = max(PAGE_WIDTH, CHARACTER_WIDTH * max(map(len, rows), default=0))
    lines = []
    for row_number, row in enumerate(rows):
        top = row_number * LINE_HEIGHT
        cells = tuple(
            Cell(
                match.group(),
                Box(match.start() * CHARACTER_WIDTH, top, match.end() * CHARACTER_WIDTH, top + LINE_HEIGHT),
                number,
            )
            for match in _CELL.finditer(row)
        )
        if cells:
            lines.append(Line(cells))
    return Page(number, width, PAGE_HEIGHT, tuple(lines))
