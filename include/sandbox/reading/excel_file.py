"""Spreadsheets (``.xlsx``): each sheet is a page, whose cells lie on a grid and have an A1 address."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree

from sandbox.reading.model import CORRUPT_FILE, Box, Cell, Line, Page, UnreadableDocument

_COLUMN_WIDTH, _ROW_HEIGHT = 96.0, 12.0
_ADDRESS = re.compile(r"([A-Z]+)(\d+)")
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET = re.compile(r"xl/worksheets/sheet(\d+)\.xml")


def read_excel(data: bytes, name: str) -> tuple[Page, ...]:
    """Read a spreadsheet's values as they are stored, sheet by sheet.

    :raises UnreadableDocument: it is no workbook.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as workbook:
            found = {
                int(match[1]): member for member in workbook.namelist() if (match := _SHEET.fullmatch(member))
            }
            texts = _shared_texts(workbook)
            return tuple(
                _page(number, ElementTree.fromstring(workbook.read(found[at])), texts)
                for number, at in enumerate(sorted(found), start=1)
            )
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, ValueError, IndexError) as error:
        raise UnreadableDocument(CORRUPT_FILE, name, f"the workbook cannot be read: {error}") from None


def _shared_texts(workbook: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in workbook.namelist():
        return []
    return [_text(item) for item in ElementTree.fromstring(workbook.read("xl/sharedStrings.xml"))]


def _text(node: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in node.iter(f"{_MAIN}t"))


def _page(number: int, sheet: ElementTree.Element, texts: list[str]) -> Page:
    rows = [tuple(_cells(row, number, texts)) for row in sheet.iter(f"{_MAIN}row")]
    lines = tuple(Line(cells) for cells in rows if cells)
    boxes = [cell.box for line in lines for cell in line.cells]
    width = max((box.right for box in boxes), default=_COLUMN_WIDTH)
    height = max((box.bottom for box in boxes), default=_ROW_HEIGHT)
    return Page(number, width, height, lines)


def _cells(row: ElementTree.Element, page: int, texts: list[str]) -> Iterator[Cell]:
    for cell in row.iter(f"{_MAIN}c"):
        address = cell.attrib["r"]
        value = cell.findtext(f"{_MAIN}v") or ""
        kind = cell.get("t")
        text = _text(cell) if kind == "inlineStr" else texts[int(value)] if kind == "s" else value
        if text.strip():
            yield Cell(text.strip(), _box(address), page, address)


def _box(address: str) -> Box:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(f"{address!r} is no address")
    column = 0
    for letter in match[1]:
        column = column * 26 + ord(letter) - ord("A") + 1
    left, top = (column - 1) * _COLUMN_WIDTH, (int(match[2]) - 1) * _ROW_HEIGHT
    return Box(left, top, left + _COLUMN_WIDTH, top + _ROW_HEIGHT)
