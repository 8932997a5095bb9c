"""Turns bytes and a name into the pages of a document, by the type of the file."""

from __future__ import annotations

from pathlib import PurePosixPath

from sandbox.reading.model import (
    CORRUPT_FILE,
    FILE_TYPE_NOT_SUPPORTED,
    FileType,
    ReadDocument,
    UnreadableDocument,
)
from sandbox.reading.tables import read_csv, read_excel
from sandbox.reading.text import read_text
from sandbox.reading.truth import split_trailer

_FILE_TYPES: dict[str, FileType] = {
    ".pdf": "PDF",
    ".csv": "CSV",
    ".xlsx": "EXCEL",
    ".txt": "TXT",
    ".md": "TXT",
    ".lis": "TXT",
    # A raw text may have a name without an extension.
    "": "TXT",
}
_PDF_SIGNATURE = b"%PDF-"
#: Number of bytes in which the PDF signature must begin; PDF readers usually accept as much.
_SIGNATURE_WINDOW = 1024


def read_document(data: bytes, name: str, *, password: str | None = None) -> ReadDocument:
    """Read the text of a file, with the place of each cell.

    :param name: its extension gives the type of the file, unless the content is a PDF.
    :param password: opens a protected PDF; other files are read without it.
    :raises UnreadableDocument: the file is empty, damaged, protected, or of a type without text.
    """
    if not data:
        raise UnreadableDocument(CORRUPT_FILE, name, "the file is empty")
    file_type = _file_type(data, name)
    if file_type == "PDF":
        from sandbox.reading.pdf import read_pdf

        pages, known = read_pdf(data, name, password)
        return ReadDocument(pages, file_type, known)
    if file_type == "EXCEL":
        return ReadDocument(read_excel(data, name), file_type)
    text, known = split_trailer(data)
    return ReadDocument((read_csv if file_type == "CSV" else read_text)(text, name), file_type, known)


def cut_pdf(data: bytes, first: int, last: int, *, password: str | None = None) -> bytes:
    """Return the pages ``first`` to ``last`` of a PDF as a file without a password, with their truth."""
    from sandbox.reading.pdf import pages_of

    return pages_of(data, first, last, password)


def _file_type(data: bytes, name: str) -> FileType:
    if _PDF_SIGNATURE in data[:_SIGNATURE_WINDOW]:
        return "PDF"
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in _FILE_TYPES:
        raise UnreadableDocument(
            FILE_TYPE_NOT_SUPPORTED,
            name,
            f"files of type {suffix} cannot be read; PDF, CSV, Excel and text can",
        )
    return _FILE_TYPES[suffix]
