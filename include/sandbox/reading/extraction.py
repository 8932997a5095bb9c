"""What a document is and which fields it holds, with confidences and citations: what Extend answers."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

from sandbox.reading.labels import kind_of, read_labels
from sandbox.reading.model import (
    Cell,
    Classification,
    Extraction,
    Kind,
    KnownDocument,
    Mark,
    ReadDocument,
)
from sandbox.reading.schemas import empty_value, leaves

#: How sure it is what a document is that carries its truth, and that a field is missing.
_KNOWN, _ABSENT = 0.97, 0.995
#: Out of a thousand cells, how many an optical reader would have stumbled over.
_SMUDGED_PER_THOUSAND = 25


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Pages of a file that are a document of their own.

    :param observation: why it begins where it does.
    """

    first_page: int
    last_page: int
    classification: Classification
    observation: str


def find_parts(doc: ReadDocument) -> tuple[Part, ...]:
    """Return the documents that a file holds, in order; a file that carries no truth is one document."""
    if not doc.known:
        return (Part(1, len(doc.pages), classify(doc), "It is the file's only document."),)
    return tuple(
        Part(
            known.first_page,
            known.last_page,
            Classification(known.type, _KNOWN),
            f"Document {number} of {len(doc.known)} begins.",
        )
        for number, known in enumerate(doc.known, start=1)
    )


def classify(doc: ReadDocument) -> Classification:
    """Return the kind of a file's first document, and a confidence from 0 to 1."""
    if doc.known:
        return Classification(doc.known[0].type, _KNOWN)
    return kind_of(doc.lines)


def extract(doc: ReadDocument, kind: Kind) -> Extraction:
    """Return the fields of ``kind`` that a document holds.

    A document of another kind has none of them: every field is null and every array empty.
    """
    known = next((each for each in doc.known if each.type == kind), None)
    if known is None and not doc.known and classify(doc).type == kind:
        known = read_labels(doc.lines, kind)
    value = known.value if known else None
    if known is None or value is None:
        value, marks = empty_value(kind), {}
    else:
        marks = _by_field(known)
    return Extraction(value, {path: _metadata(doc, marks.get(path, ())) for path, _ in leaves(value)})


def _by_field(known: KnownDocument) -> dict[str, list[Mark]]:
    marks: dict[str, list[Mark]] = {}
    for mark in known.marks:
        for field in mark.fields:
            marks.setdefault(field, []).append(mark)
    return marks


def _metadata(doc: ReadDocument, marks: Sequence[Mark]) -> dict[str, Any]:
    cells = [mark.cell for mark in marks]
    return {
        "ocrConfidence": _ocr_confidence(doc, cells),
        "logprobsConfidence": min((mark.certainty for mark in marks), default=_ABSENT),
        "citations": [_citation(doc, cell) for cell in cells],
    }


def _ocr_confidence(doc: ReadDocument, cells: Sequence[Cell]) -> float | None:
    """As if the page had been scanned: high, low for a few cells, always the same for the same cell.

    Text and table files are not seen through a scanner and have none.
    """
    if doc.file_type != "PDF" or not cells:
        return None
    return min(map(_legibility, cells))


def _legibility(cell: Cell) -> float:
    speck = zlib.crc32(f"{cell.page} {cell.box.left:.0f} {cell.box.top:.0f} {cell.text}".encode()) % 1000
    if speck < _SMUDGED_PER_THOUSAND:
        return round(0.45 + speck / 100, 3)
    return round(0.95 + speck % 50 / 1000, 3)


def _citation(doc: ReadDocument, cell: Cell) -> dict[str, Any]:
    """A citation of one cell; a table file's is an A1 address instead of a polygon, as Extend documents."""
    page = doc.pages[cell.page - 1]
    citation: dict[str, Any] = {
        "page": {"number": page.number, "width": page.width, "height": page.height},
        "referenceText": cell.text,
    }
    if cell.cell_range:
        return {**citation, "cellRange": cell.cell_range}
    box = cell.box
    corners = ((box.left, box.top), (box.right, box.top), (box.right, box.bottom), (box.left, box.bottom))
    return {**citation, "polygon": [{"x": round(x, 2), "y": round(y, 2)} for x, y in corners]}
