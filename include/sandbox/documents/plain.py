"""Prints documents as plain text and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from sandbox.documents.draft import Draft, Party, Printed
from sandbox.reading.model import KnownDocument, Mark, Page
from sandbox.reading.tables import read_csv
from sandbox.reading.text import read_text
from sandbox.reading.truth import with_trailer

_Rows = Sequence[Sequence[Printed]]
_BLANK = [Printed("")]


def print_text(draft: Draft) -> tuple[bytes, KnownDocument]:
    """Print a document as plain text in columns and return the file and its truth."""
    party = draft.addressee
    addressee = [Printed("Bill to"), party.name, *party.lines] if party else []
    rows: list[Sequence[Printed]] = [
        *([text] for text in (draft.issuer.name, *draft.issuer.lines)),
        _BLANK,
        [Printed(draft.title.upper())],
        *([text.labelled(label)] for label, text in draft.facts),
        _BLANK,
        *([text] for text in addressee),
        _BLANK,
        *_aligned([*_header(draft), *draft.rows]),
        _BLANK,
        *_aligned(draft.totals),
        _BLANK,
        [Printed(draft.closing)],
    ]
    text = "".join("  ".join(cell.text for cell in row).rstrip() + "\n" for row in rows).encode()
    return _carrying(text, draft, rows, read_text(text, ""))


def print_csv(draft: Draft) -> tuple[bytes, KnownDocument]:
    """Print a document as CSV in the country's format and return the file and its truth."""
    parties = [party for party in (draft.issuer, draft.addressee) if party]
    rows: list[Sequence[Printed]] = [
        [Printed(draft.title)],
        *([Printed(label), text] for label, text in draft.facts),
        *(row for party in parties for row in _party(party)),
        [],
        *_header(draft),
        *draft.rows,
        [],
        *draft.totals,
    ]
    has_decimal_comma = draft.locale.decimal_mark == ","
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=";" if has_decimal_comma else ",")
    writer.writerows([cell.text for cell in row] for row in rows)
    table = buffer.getvalue().encode("utf-8-sig" if has_decimal_comma else "utf-8")
    return _carrying(table, draft, rows, read_csv(table, ""))


def _header(draft: Draft) -> _Rows:
    return [[Printed(column.label) for column in draft.columns]] if draft.has_header else []


def _party(party: Party) -> Iterable[Sequence[Printed]]:
    yield Printed(f"{party.role} name"), party.name
    if party.address:
        whole = ", ".join(line.text for line in party.address)
        yield Printed(f"{party.role} address"), party.address[0]._replace(text=whole)
    yield from ((Printed(label), text) for label, text in party.more)


def _aligned(rows: _Rows) -> list[list[Printed]]:
    """Pad the cells of rows to columns; all columns but the first are right-aligned."""
    widths = [max(len(cell.text) for cell in column) for column in zip(*rows, strict=True)]
    return [
        [
            cell._replace(text=cell.text.rjust(width) if at else cell.text.ljust(width))
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]


def _carrying(data: bytes, draft: Draft, rows: _Rows, pages: Sequence[Page]) -> tuple[bytes, KnownDocument]:
    """Add the truth to a file; the place of each printed cell is where reading finds it.

    :raises ValueError: reading the file gives other cells than were printed.
    """
    read = [cell for page in pages for line in page.lines for cell in line.cells]
    printed = [cell for row in rows for cell in row if cell.text.strip()]
    if [cell.text for cell in read] != [cell.text.strip() for cell in printed]:
        raise ValueError("reading the file gives other cells than were printed")
    marks = [
        Mark(cell, tuple(text.fields), text.certainty)
        for cell, text in zip(read, printed, strict=True)
        if text.fields
    ]
    known = draft.known(marks, len(pages))
    return with_trailer(data, known), known
