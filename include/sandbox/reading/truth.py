"""The truth that a sample document carries: its kind, its fields, and where each field is printed.

A PDF carries it as an attachment, like an electronic invoice. Text and table files carry it in a last line
with a checksum of the text before it, so the truth of an edited text is ignored.
"""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Iterable

import msgspec

from sandbox.reading.model import KnownDocument

#: Name of the attachment of a PDF.
ATTACHMENT = "truth.json"
_TRAILER = b"\n# truth "


def encoded(documents: Iterable[KnownDocument]) -> bytes:
    """Return the truth of some documents as JSON."""
    return msgspec.json.encode(list(documents))


def decoded(data: bytes) -> tuple[KnownDocument, ...]:
    """Return the documents that :func:`encoded` was given."""
    return msgspec.json.decode(data, type=tuple[KnownDocument, ...])


def with_trailer(text: bytes, document: KnownDocument) -> bytes:
    """Return the text with the truth of its document added.

    :param text: ends with a line feed.
    """
    packed = base64.b64encode(zlib.compress(encoded([document])))
    return b"%s%s%08x %s\n" % (text, _TRAILER[1:], zlib.crc32(text), packed)


def split_trailer(data: bytes) -> tuple[bytes, tuple[KnownDocument, ...]]:
    """Return the text of a file and its truth; no truth if it has none or if the text was edited."""
    before, trailer, line = data.rpartition(_TRAILER)
    text = before + b"\n"
    if not trailer:
        return data, ()
    checksum, _, packed = line.strip().partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return text, ()
    return text, decoded(zlib.decompress(base64.b64decode(packed)))


def within(documents: Iterable[KnownDocument], first: int, last: int) -> list[KnownDocument]:
    """Return the documents on the pages ``first`` to ``last``, as documents of a file with these pages."""
    return [
        moved(document, 1 - first)
        for document in documents
        if first <= document.first_page and document.last_page <= last
    ]


def moved(document: KnownDocument, pages: int) -> KnownDocument:
    """Return the document moved down by a number of pages in its file."""
    if not pages:
        return document
    marks = (
        dataclasses.replace(mark, cell=dataclasses.replace(mark.cell, page=mark.cell.page + pages))
        for mark in document.marks
    )
    return dataclasses.replace(
        document,
        first_page=document.first_page + pages,
        last_page=document.last_page + pages,
        marks=tuple(marks),
    )
