"""Classifies documents and extracts their fields, with confidences and citations as Extend returns them."""

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

#: Confidence in the class of a document that carries its truth, and in the absence of a field.
_KNOWN, _ABSENT = 0.97, 0.995
#: Cells per thousand that get a low OCR confidence.
_SMUDGED_PER_THOUSAND = 25


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Pages of a file that are one document.

    :param observation: why the document begins at this page.
    """

    first_page: int
    last_page: int
    classification: Classification
    observation: str


def find_parts(doc: ReadDocument) -> tuple[Part, ...]:
    """Return the documents in a file, in order; a file without truth is one document."""
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
    """Return the fields of ``kind`` in a document; for a document of another kind all are null or empty."""
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
    """Return an OCR confidence as if the page had been scanned; None for text and table files.

    It is high for most cells and low for a few, and always the same for the same cell.
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
    """Return a citation of one cell; in a table file it has an A1 address instead of a polygon."""
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
