"""Reads documents: their text with its place on the page, their kind, and their fields.

A sample document carries its truth (``truth.py``), which is returned. In any other document, fields are found
by their labels (``labels.py``).

doc = read_document(data, "invoice.pdf")
if classify(doc).type == "invoice":
    extraction = extract(doc, "invoice")
"""

from sandbox.reading.extraction import Part, classify, extract, find_parts
from sandbox.reading.files import cut_pdf, read_document
from sandbox.reading.model import (
    CORRUPT_FILE,
    FILE_TYPE_NOT_SUPPORTED,
    PASSWORD_PROTECTED_FILE,
    Box,
    Cell,
    Classification,
    DocumentType,
    Extraction,
    Kind,
    Line,
    Page,
    ReadDocument,
    UnreadableDocument,
)
from sandbox.reading.schemas import SCHEMAS, empty_value

__all__ = [
    "CORRUPT_FILE",
    "FILE_TYPE_NOT_SUPPORTED",
    "PASSWORD_PROTECTED_FILE",
    "SCHEMAS",
    "Box",
    "Cell",
    "Classification",
    "DocumentType",
    "Extraction",
    "Kind",
    "Line",
    "Page",
    "Part",
    "ReadDocument",
    "UnreadableDocument",
    "classify",
    "cut_pdf",
    "empty_value",
    "extract",
    "find_parts",
    "read_document",
]
