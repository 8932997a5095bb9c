"""What reading a document yields: pages of lines of cells, each with its place on the page.

Coordinates are points (1/72 inch) with the origin in a page's upper left corner, as in Extend's citations.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Kind = Literal["invoice", "receipt", "bank_statement"]
DocumentType = Literal["invoice", "receipt", "bank_statement", "other"]
FileType = Literal["PDF", "CSV", "EXCEL", "TXT"]

#: Extend's own words for a file that cannot be read (a parse run's ``failureReason``).
CORRUPT_FILE = "CORRUPT_FILE"
PASSWORD_PROTECTED_FILE = "PASSWORD_PROTECTED_FILE"
FILE_TYPE_NOT_SUPPORTED = "FILE_TYPE_NOT_SUPPORTED"
FILE_SIZE_TOO_LARGE = "FILE_SIZE_TOO_LARGE"


class UnreadableDocument(Exception):  # noqa: N818 (says what was found, not that a caller erred)
    """A file has no readable text.

    ``code`` is one of this module's words, ``name`` the file's, ``str()`` a sentence for a person.
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
        """The part of the rectangle that lies on a page of the given size."""
        return Box(
            min(max(self.left, 0.0), width),
            min(max(self.top, 0.0), height),
            min(max(self.right, 0.0), width),
            min(max(self.bottom, 0.0), height),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """A run of text that stands apart from its neighbours on the same line.

    :param page: number of its page, from 1.
    :param cell_range: its address in a table file (``B4``), None on a page of text.
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
        """The cells' texts, two spaces between them."""
        return "  ".join(cell.text for cell in self.cells)


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """One page: its number from 1, its size in points, its lines from top to bottom."""

    number: int
    width: float
    height: float
    lines: tuple[Line, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """Text on a page that shows fields.

    :param fields: the paths of the fields, e.g. ``line_items[0].amount``.
    :param certainty: how sure a reader can be of the fields, 0 to 1.
    """

    cell: Cell
    fields: tuple[str, ...]
    certainty: float


@dataclasses.dataclass(frozen=True, slots=True)
class KnownDocument:
    """A document whose truth its file carries.

    :param first_page: where it begins in its file, from 1; ``last_page`` is its last page.
    :param value: its fields; None for a document of no kind.
    :param marks: every field that is not null stands in one of them at least.
    """

    type: DocumentType
    first_page: int
    last_page: int
    value: dict[str, Any] | None = None
    marks: tuple[Mark, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ReadDocument:
    """The text of a file with its places.

    :param file_type: in Extend's words.
    :param known: the documents whose truth the file carries, in the order of their pages.
    """

    pages: tuple[Page, ...]
    file_type: FileType
    known: tuple[KnownDocument, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines, page after page."""
        return tuple(line for page in self.pages for line in page.lines)

    @property
    def text(self) -> str:
        """All text, one line per line."""
        return "\n".join(line.text for line in self.lines)


@dataclasses.dataclass(frozen=True, slots=True)
class Classification:
    """What a document is, and how sure that is (0 to 1)."""

    type: DocumentType
    confidence: float


@dataclasses.dataclass(frozen=True, slots=True)
class Extraction:
    """The fields of a document.

    :param value: the fields, JSON-serialisable, in the shape of the kind's schema.
    :param metadata: for each leaf's path (``line_items[0].amount``) its confidences and citations, in the
        shape of an Extend extract run's ``output.metadata`` (API version 2026-02-09).
    """

    value: dict[str, Any]
    metadata: dict[str, dict[str, Any]]
