"""Reads the text of a PDF, with its places, in one pass over each page's drawing operations.

Only text that is drawn as text is read. A scanned page has no lines.
"""

from __future__ import annotations

import io
import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pypdf
from pypdf.errors import DependencyError

from sandbox.reading.model import (
    CORRUPT_FILE,
    PASSWORD_PROTECTED_FILE,
    Box,
    Cell,
    KnownDocument,
    Line,
    Page,
    UnreadableDocument,
)
from sandbox.reading.truth import ATTACHMENT, decoded, encoded, within

# pypdf's warnings name no document; this module's result or error says what matters.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)

# Height of a glyph above and below the baseline, and width of a word space, in ems.
_ASCENT, _DESCENT, _SPACE = 0.78, 0.22, 0.14
#: Fragments closer together than this, in ems, are one cell.
_CELL_GAP = 0.6
#: Baselines closer together than this, in points, are one line.
_BASELINE_TOLERANCE = 2.0
# Approximate widths of the characters of a sans-serif font, in ems. Only a viewer needs exact widths.
_NARROW, _DIGIT, _WIDE, _CAPITAL, _SMALL = 0.27, 0.556, 0.85, 0.69, 0.53
_NARROW_CHARACTERS = frozenset(" .,:;'!|/()[]-ijlftrI")
_WIDE_CHARACTERS = frozenset("mwMW@%")


class _Fragment(NamedTuple):
    """Text of one drawing operation; ``baseline`` is measured from the page's upper edge."""

    text: str
    left: float
    baseline: float
    size: float
    right: float


def read_pdf(
    data: bytes, name: str, password: str | None = None
) -> tuple[tuple[Page, ...], tuple[KnownDocument, ...]]:
    """Return the pages of a PDF, and the truth that it carries.

    :raises UnreadableDocument: the file is damaged, or protected and ``password`` does not open it.
    """
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        opened = not reader.is_encrypted or bool(reader.decrypt(password or ""))
        pages = tuple(_read_page(at, page) for at, page in enumerate(reader.pages, start=1)) if opened else ()
        known = _known(reader) if opened else ()
    except DependencyError:
        raise  # the installation lacks a cipher, which says nothing about the file
    except Exception as error:
        # pypdf has no closed list of the exceptions that a damaged file causes.
        raise UnreadableDocument(
            CORRUPT_FILE, name, f"it is damaged and does not open ({type(error).__name__})"
        ) from error
    if not opened:
        detail = "the password does not open it" if password else "it is protected by a password"
        raise UnreadableDocument(PASSWORD_PROTECTED_FILE, name, detail)
    if not pages:
        raise UnreadableDocument(CORRUPT_FILE, name, "it has no pages")
    return pages, known


def pages_of(data: bytes, first: int, last: int, password: str | None = None) -> bytes:
    """Return the pages ``first`` to ``last`` of a readable PDF as a file without a password."""
    reader, writer = pypdf.PdfReader(io.BytesIO(data)), pypdf.PdfWriter()
    if reader.is_encrypted:
        reader.decrypt(password or "")
    writer.append(reader, pages=(first - 1, last), import_outline=False)
    return written(writer, within(_known(reader), first, last))


def written(writer: pypdf.PdfWriter, known: Sequence[KnownDocument]) -> bytes:
    """Return the PDF with the truth of its documents attached."""
    if known:
        writer.add_attachment(ATTACHMENT, encoded(known))
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def _known(reader: pypdf.PdfReader) -> tuple[KnownDocument, ...]:
    contents = reader.attachments.get(ATTACHMENT)
    return decoded(contents[0]) if contents else ()


def _read_page(number: int, page: pypdf.PageObject) -> Page:
    width, height = float(page.mediabox.width), float(page.mediabox.height)
    fragments: list[_Fragment] = []

    def collect(
        text: str, cm: list[float], tm: list[float], font: dict[str, Any] | None, size: float
    ) -> None:
        stripped = re.sub(r"[ \t\xa0]+", " ", text).strip()
        if not stripped:
            return
        left = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
        baseline = height - (tm[4] * cm[1] + tm[5] * cm[3] + cm[5])
        scale = size * abs(tm[3] * cm[3]) or size
        fragments.append(_Fragment(stripped, left, baseline, scale, left + scale * _width(stripped, font)))

    page.extract_text(visitor_text=collect)
    lines = tuple(
        Line(tuple(_cell(run, number, width, height) for run in _runs(row))) for row in _rows(fragments)
    )
    return Page(number, width, height, lines)


def _width(text: str, font: dict[str, Any] | None) -> float:
    """Return the approximate width of a text, in ems."""
    if font and "Courier" in str(font.get("/BaseFont", "")):
        return 0.6 * len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> float:
    if character in _NARROW_CHARACTERS:
        return _NARROW
    if character.isdigit():
        return _DIGIT
    if character in _WIDE_CHARACTERS:
        return _WIDE
    return _CAPITAL if character.isupper() else _SMALL


def _rows(fragments: Iterable[_Fragment]) -> Iterator[list[_Fragment]]:
    """Yield the fragments that share a baseline, from top to bottom, each row from left to right."""
    row: list[_Fragment] = []
    for fragment in sorted(fragments, key=lambda each: each.baseline):
        if row and fragment.baseline - row[0].baseline > _BASELINE_TOLERANCE:
            yield sorted(row, key=lambda each: each.left)
            row = []
        row.append(fragment)
    if row:
        yield sorted(row, key=lambda each: each.left)


def _runs(row: list[_Fragment]) -> Iterator[list[_Fragment]]:
    """Yield neighbours in a row that are no further apart than words."""
    run = [row[0]]
    for fragment in row[1:]:
        if fragment.left - run[-1].right > _CELL_GAP * run[-1].size:
            yield run
            run = []
        run.append(fragment)
    yield run


def _cell(run: list[_Fragment], page: int, width: float, height: float) -> Cell:
    text = run[0].text
    for previous, fragment in itertools.pairwise(run):
        text += (" " if fragment.left - previous.right > _SPACE * previous.size else "") + fragment.text
    box = Box(
        run[0].left,
        min(fragment.baseline - _ASCENT * fragment.size for fragment in run),
        max(fragment.right for fragment in run),
        max(fragment.baseline + _DESCENT * fragment.size for fragment in run),
    )
    return Cell(text, box.clamped(width, height), page)
