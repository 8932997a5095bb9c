"""From found fields to what Extend answers: plain values, and for each path its confidences and citations."""

from __future__ import annotations

import zlib
from typing import Any

from sandbox.reading.finding import Found
from sandbox.reading.model import Cell, Extraction, ReadDocument

#: Out of a thousand cells, how many an optical reader would have stumbled over.
_SMUDGED_PER_THOUSAND = 25


def to_extraction(doc: ReadDocument, fields: dict[str, Any]) -> Extraction:
    """Return the value and the metadata of a tree of fields whose leaves are ``Found``."""
    metadata: dict[str, dict[str, Any]] = {}
    value = _collect(doc, fields, "", metadata)
    return Extraction(value, metadata)


def _collect(doc: ReadDocument, node: Any, path: str, metadata: dict[str, dict[str, Any]]) -> Any:
    if isinstance(node, Found):
        metadata[path] = _metadata(doc, node)
        return node.value
    if isinstance(node, list):
        return [_collect(doc, item, f"{path}[{at}]", metadata) for at, item in enumerate(node)]
    return {
        name: _collect(doc, field, f"{path}.{name}" if path else name, metadata)
        for name, field in node.items()
    }


def _metadata(doc: ReadDocument, found: Found[Any]) -> dict[str, Any]:
    return {
        "ocrConfidence": _ocr_confidence(doc, found.cells),
        "logprobsConfidence": round(found.certainty, 3),
        "citations": [_citation(doc, cell) for cell in found.cells],
    }


def _ocr_confidence(doc: ReadDocument, cells: tuple[Cell, ...]) -> float | None:
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
