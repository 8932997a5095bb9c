"""Prints documents as PDF: the head of each layout, tables across page breaks, totals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sandbox.documents.canvas import Align, Canvas
from sandbox.documents.draft import Column, Draft, Layout, Printed
from sandbox.reading.model import KnownDocument

_MARGIN, _FOOT = 50.0, 80.0
_ROW, _WRAPPED_ROW = 18.0, 12.0
#: Distance between right-aligned columns, and space beside the column that wraps.
_RIGHT_STEP, _GAP = 85.0, 70.0
_STRIP_WIDTH, _EDGE, _PITCH = 226.77, 14.0, 13.0  # 80 mm, the usual till roll


def print_pdf(draft: Draft, password: str | None = None) -> tuple[bytes, KnownDocument]:
    """Print a document as PDF and return the file and its truth.

    :param password: password that opens the file.
    """
    if draft.layout == "strip":
        return _print_strip(draft)
    width, height = draft.locale.paper
    canvas = Canvas(width, height, created=draft.created, password=password)
    table = _Table(canvas, draft, top=_HEADS[draft.layout](canvas, draft))
    for row in draft.rows:
        table.draw(row)
    baseline = table.end(space=80)
    for label, amount in draft.totals:
        last = label is draft.totals[-1][0]
        canvas.text(canvas.width - _MARGIN - 190, baseline, label, bold=last)
        canvas.text(canvas.width - _MARGIN, baseline, amount, bold=last, align="right")
        baseline += 16
    canvas.text(_MARGIN, baseline + 14, draft.closing, size=8)
    canvas.number_pages()
    return canvas.finish(draft)


def _letterhead(canvas: Canvas, draft: Draft) -> float:
    """Draw issuer (upper left), facts (upper right) and addressee; return where the table begins."""
    right = canvas.width - _MARGIN
    canvas.text(_MARGIN, 62, draft.issuer.name, size=13, bold=True)
    canvas.lines(_MARGIN, 79, draft.issuer.lines)
    canvas.text(right, 62, draft.title.upper(), size=13, bold=True, align="right")
    for row, (label, value) in enumerate(draft.facts):
        canvas.text(right - 190, 90 + 16 * row, label)
        canvas.text(right, 90 + 16 * row, value, align="right")
    return _addressee(canvas, draft, _MARGIN, 190) + 30


def _stacked(canvas: Canvas, draft: Draft) -> float:
    """Draw both parties side by side and each fact under its label; return where the table begins."""
    canvas.text(_MARGIN, 60, draft.title, size=20, bold=True)
    canvas.text(_MARGIN, 95, "From", bold=True)
    canvas.lines(_MARGIN, 110, [draft.issuer.name, *draft.issuer.lines])
    _addressee(canvas, draft, canvas.width / 2, 95)
    step = (canvas.width - 2 * _MARGIN) / len(draft.facts)
    for column, (label, value) in enumerate(draft.facts):
        canvas.text(_MARGIN + column * step, 215, label, size=8, bold=True)
        canvas.text(_MARGIN + column * step, 229, value)
    return 270


def _addressee(canvas: Canvas, draft: Draft, x: float, baseline: float) -> float:
    assert draft.addressee is not None
    canvas.text(x, baseline, "Bill to", bold=True)
    return canvas.lines(x, baseline + 15, [draft.addressee.name, *draft.addressee.lines])


def _statement(canvas: Canvas, draft: Draft) -> float:
    """Draw issuer, title and facts below each other; return where the table begins."""
    canvas.text(_MARGIN, 50, draft.issuer.name, size=12, bold=True)
    canvas.lines(_MARGIN, 65, draft.issuer.lines)
    canvas.text(_MARGIN, 105, draft.title, size=14, bold=True)
    for row, (label, value) in enumerate(draft.facts):
        canvas.text(_MARGIN, 132 + 16 * row, label)
        canvas.text(_MARGIN + 150, 132 + 16 * row, value)
    return 150 + 16 * len(draft.facts)


_HEADS: Mapping[Layout, Callable[[Canvas, Draft], float]] = {
    "letterhead": _letterhead,
    "stacked": _stacked,
    "statement": _statement,
}


class _Table:
    """The rows of a document, drawn one by one across page breaks."""

    def __init__(self, canvas: Canvas, draft: Draft, top: float) -> None:
        self._canvas = canvas
        self._draft = draft
        self._places = _places(draft.columns, canvas.width - _MARGIN)
        first_right = min((x for x, column in self._places if column.is_right), default=canvas.width)
        self._text_width = (
            first_right - _GAP - max((x for x, column in self._places if column.wraps), default=0)
        )
        self._baseline = self._header(top)

    def draw(self, row: Sequence[Printed]) -> None:
        """Draw one row; a row is never split between pages."""
        cells = [
            self._canvas.wrapped(text, self._text_width) if column.wraps else [text]
            for text, (_, column) in zip(row, self._places, strict=True)
        ]
        height = _ROW + _WRAPPED_ROW * (max(map(len, cells)) - 1)
        self._break_page_unless(height)
        for lines, (x, column) in zip(cells, self._places, strict=True):
            for at, line in enumerate(lines):
                self._canvas.text(x, self._baseline + at * _WRAPPED_ROW, line, align=_align(column))
        self._baseline += height

    def end(self, space: float) -> float:
        """Return where the totals begin, on a new page if this one has less than ``space`` left."""
        self._break_page_unless(space)
        return self._baseline + 8

    def _break_page_unless(self, space: float) -> None:
        if self._baseline + space <= self._canvas.height - _FOOT:
            return
        self._canvas.new_page()
        self._baseline = 60.0
        if self._draft.repeats_header:
            self._canvas.text(_MARGIN, 50, self._draft.issuer.name.text, size=8)
            self._baseline = self._header(80)

    def _header(self, baseline: float) -> float:
        for x, column in self._places:
            self._canvas.text(x, baseline, column.label, bold=True, align=_align(column))
        self._canvas.rule(_MARGIN, self._canvas.width - _MARGIN, baseline + 5)
        return baseline + _ROW + 2


def _align(column: Column) -> Align:
    return "right" if column.is_right else "left"


def _places(columns: Sequence[Column], right: float) -> list[tuple[float, Column]]:
    """Return each column with the edge that its texts are aligned to."""
    places, left = [], _MARGIN
    for at, column in enumerate(columns):
        if column.is_right:
            places.append((right - _RIGHT_STEP * (len(columns) - 1 - at), column))
        else:
            places.append((left, column))
            left += column.width
    return places


def _print_strip(draft: Draft) -> tuple[bytes, KnownDocument]:
    """Print a till receipt on a strip as long as its content."""
    header = [[Printed(column.label) for column in draft.columns]] if draft.has_header else []
    rows = [*header, *draft.rows, *(list(pair) for pair in draft.totals)]
    height = 160 + _PITCH * (len(draft.facts) + len(rows))
    canvas = Canvas(_STRIP_WIDTH, height, created=draft.created, font="Courier")
    right = _STRIP_WIDTH - _EDGE
    canvas.text(_EDGE, 34, draft.issuer.name, size=11, bold=True)
    for at, line in enumerate(canvas.wrapped(draft.issuer.address[0], right - _EDGE, size=7.5)):
        canvas.text(_EDGE, 46 + 9 * at, line, size=7.5)
    canvas.text(_EDGE, 76, draft.title.upper(), size=9, bold=True)
    baseline = 94.0
    for label, value in draft.facts:
        canvas.text(_EDGE, baseline, value.labelled(label), size=8)
        baseline += _PITCH
    for row in rows:
        baseline += _PITCH
        canvas.text(_EDGE, baseline, row[0], size=8)
        if len(row) == 3:
            canvas.text(right - 62, baseline, row[1], size=8, align="right")
        canvas.text(right, baseline, row[-1], size=8, align="right")
    canvas.text(_STRIP_WIDTH / 2, baseline + 34, draft.closing, size=8, align="centre")
    return canvas.finish(draft)
