"""Writing text and table files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_GAP = 2


def aligned(rows: Sequence[Sequence[str]], right_from: int) -> list[str]:
    """Lay rows out in columns at least two spaces apart, those from ``right_from`` on flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at >= right_from else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def to_csv(rows: Iterable[Sequence[str]], decimal_mark: str) -> bytes:
    """Return rows as a spreadsheet of the country writes them: semicolons where commas part decimals."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=";" if decimal_mark == "," else ",").writerows(rows)
    return buffer.getvalue().encode("utf-8-sig" if decimal_mark == "," else "utf-8")
