"""The result of reading a document: pages, lines and cells, each with its place on the page.

Coordinates are points (1/72 inch) from the upper left corner of the page, as in Extend's citations.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Kind = Literal["invoice", "receipt", "bank_statement"]
DocumentType = Literal["invoice", "receipt", "bank_statement", "other"]
FileType = Literal["PDF", "CSV", "EXCEL", "TXT"]

#: Extend's codes for a file that cannot be read (``failureReason`` of a parse run).
CORRUPT_FILE = "CORRUPT_FILE"
PASSWORD_PROTECTED_FILE = "PASSWORD_PROTECTED_FILE"
FILE_TYPE_NOT_SUPPORTED = "FILE_TYPE_NOT_SUPPORTED"


class UnreadableDocument(Exception):  # noqa: N818 (it names a finding, not a caller's error)
    """A file has no readable text.

    :param code: one of the codes of this module.
    :param name: name of the file.
    """

    def __init__(self, code: str, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.code = code
        self.name = name


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in points from its upper left corner."""

    left: float
    top: float
    right: float
    bottom: float

    def clamped(self, width: float, height: float) -> Box:
        """Return the part of the rectangle that is on a page of the given size."""
        return Box(
            min(max(self.left, 0.0), width),
            min(max(self.top, 0.0), height),
            min(max(self.right, 0.0), width),
            min(max(self.bottom, 0.0), height),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """A text that is separate from its neighbours on the same line.

    :param page: page number, from 1.
    :param cell_range: address in a table file (``B4``); None in other files.
    """

    text: str
    box: Box
    page: int
    cell_range: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """The cells that share a baseline, from left to right; never empty."""

    cells: tuple[Cell, ...]

    @property
    def text(self) -> str:
        """The texts of the cells, separated by two spaces."""
        return "  ".join(cell.text for cell in self.cells)


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """One page: its number (from 1), its size in points, and its lines from top to bottom."""

    number: int
    width: float
    height: float
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """A cell that shows fields.

    :param fields: paths of the fields, e.g. ``line_items[0].amount``.
    :param certainty: confidence in the fields, 0 to 1.
    """

    cell: Cell
    fields: tuple[str, ...]
    certainty: float


@dataclasses.dataclass(frozen=True, slots=True)
class KnownDocument:
    """The truth of one document, as its file carries it.

    :param first_page: its first page in the file, from 1.
    :param value: its fields; None for a document of type ``other``.
    :param marks: each field that is not null is in at least one of them.
    """

    type: DocumentType
    first_page: int
    last_page: int
    value: dict[str, Any] | None = None
    marks: tuple[Mark, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ReadDocument:
    """The text of a file, with its places on the pages.

    :param file_type: Extend's type of the file.
    :param known: the truth of its documents, if the file carries it, in page order.
    """

    pages: tuple[Page, ...]
    file_type: FileType
    known: tuple[KnownDocument, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all pages."""
        return tuple(line for page in self.pages for line in page.lines)

    @property
    def text(self) -> str:
        """The text of all pages, line by line."""
        return "\n".join(line.text for line in self.lines)


@dataclasses.dataclass(frozen=True, slots=True)
class Classification:
    """The type of a document, with a confidence from 0 to 1."""

    type: DocumentType
    confidence: float


@dataclasses.dataclass(frozen=True, slots=True)
class Extraction:
    """The fields of a document.

    :param value: the fields, in the shape of the kind's schema.
    :param metadata: confidences and citations by path (``line_items[0].amount``), in the shape of
        ``output.metadata`` of an extract run (API version 2026-02-09).
    """

    value: dict[str, Any]
    metadata: dict[str, dict[str, Any]]
