"""Reads table files, whose cells have an A1 address: ``.csv``, and ``.xlsx`` with a page for each sheet."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

from sandbox.reading.model import CORRUPT_FILE, Box, Cell, Line, Page, UnreadableDocument
from sandbox.reading.text import decode

_COLUMN_WIDTH, _ROW_HEIGHT = 96.0, 12.0
_DELIMITERS = ",;\t"
_ADDRESS = re.compile(r"([A-Z]+)(\d+)")
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET = re.compile(r"xl/worksheets/sheet(\d+)\.xml")


def read_csv(data: bytes, name: str) -> tuple[Page, ...]:
    """Read comma-, semicolon- or tab-separated values; blank rows keep their place on the page.

    :raises UnreadableDocument: the bytes are not text.
    """
    text = decode(data, name)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    cells = (
        tuple(_cell(value, row, column, 1) for column, value in enumerate(values) if value.strip())
        for row, values in enumerate(rows)
    )
    lines = tuple(Line(each) for each in cells if each)
    width = _COLUMN_WIDTH * max(map(len, rows), default=1)
    return (Page(1, width, _ROW_HEIGHT * max(len(rows), 1), lines),)


def read_excel(data: bytes, name: str) -> tuple[Page, ...]:
    """Read the stored values of a workbook, sheet by sheet.

    :raises UnreadableDocument: the file is not a workbook.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as workbook:
            found = {
                int(match[1]): member for member in workbook.namelist() if (match := _SHEET.fullmatch(member))
            }
            texts = _shared_texts(workbook)
            return tuple(
                _sheet(number, ElementTree.fromstring(workbook.read(found[at])), texts)
                for number, at in enumerate(sorted(found), start=1)
            )
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, ValueError, IndexError) as error:
        raise UnreadableDocument(CORRUPT_FILE, name, f"the workbook cannot be read: {error}") from None


def _delimiter(text: str) -> str:
    """Return the candidate that is on the most lines; a decimal comma is not on every line."""
    lines = ["".join(line.split('"')[::2]) for line in text.splitlines()]
    return max(_DELIMITERS, key=lambda candidate: sum(candidate in line for line in lines))


def _shared_texts(workbook: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in workbook.namelist():
        return []
    return [_text(item) for item in ElementTree.fromstring(workbook.read("xl/sharedStrings.xml"))]


def _text(node: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in node.iter(f"{_MAIN}t"))


def _sheet(number: int, sheet: ElementTree.Element, texts: list[str]) -> Page:
    rows = [tuple(_values(row, number, texts)) for row in sheet.iter(f"{_MAIN}row")]
    lines = tuple(Line(cells) for cells in rows if cells)
    boxes = [cell.box for line in lines for cell in line.cells]
    width = max((box.right for box in boxes), default=_COLUMN_WIDTH)
    height = max((box.bottom for box in boxes), default=_ROW_HEIGHT)
    return Page(number, width, height, lines)


def _values(row: ElementTree.Element, page: int, texts: list[str]) -> Iterator[Cell]:
    for cell in row.iter(f"{_MAIN}c"):
        value = cell.findtext(f"{_MAIN}v") or ""
        kind = cell.get("t")
        text = _text(cell) if kind == "inlineStr" else texts[int(value)] if kind == "s" else value
        address = _ADDRESS.fullmatch(cell.attrib["r"])
        if address is None:
            raise ValueError(f"{cell.attrib['r']!r} is not a cell address")
        if text.strip():
            yield _cell(text, int(address[2]) - 1, _column(address[1]), page)


def _cell(text: str, row: int, column: int, page: int) -> Cell:
    left, top = column * _COLUMN_WIDTH, row * _ROW_HEIGHT
    box = Box(left, top, left + _COLUMN_WIDTH, top + _ROW_HEIGHT)
    return Cell(text.strip(), box, page, f"{_letters(column)}{row + 1}")


def _letters(column: int) -> str:
    """Return the letters of a column: ``A`` for 0, ``Z`` for 25, ``AA`` for 26."""
    before, last = divmod(column, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def _column(letters: str) -> int:
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return column - 1
