"""From bytes and a name to the pages of a document: decides what the file is and who reads it."""

from __future__ import annotations

from pathlib import PurePosixPath

from sandbox.reading.model import (
    CORRUPT_FILE,
    FILE_SIZE_TOO_LARGE,
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
    # A text sent without a file has no name to tell its type by.
    "": "TXT",
}
_PDF_SIGNATURE = b"%PDF-"
#: How far into a file its signature may stand, as PDF readers commonly accept.
_SIGNATURE_WINDOW = 1024


def read_document(
    data: bytes, name: str, *, password: str | None = None, max_bytes: int | None = None
) -> ReadDocument:
    """Read the text of a file, with the place of every piece of it.

    :param data: the file's content.
    :param name: its name; the extension tells the type, unless the content says that it is a PDF.
    :param password: opens a password-protected PDF; an unprotected file is read without it.
    :param max_bytes: refuse a larger file.
    :raises UnreadableDocument: the file is empty, damaged, protected, too large, or of a type without text.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise UnreadableDocument(
            FILE_SIZE_TOO_LARGE, name, f"{len(data):,} bytes are more than the allowed {max_bytes:,}"
        )
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
    """Return some pages of a PDF as a file of their own, without a password, with the truth about them.

    :param first: the first of them, counted from 1; ``last`` is the last one.
    """
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
