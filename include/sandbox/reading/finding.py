"""Finding things on a page: the value of a label, the block beneath a heading, the rows of a table.

Everything is judged by words and places, never by knowing who laid the document out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from sandbox.reading.model import Cell, Line

T = TypeVar("T")

#: Lines of one block stand no further apart than this many times their height.
_LINE_PITCH = 1.75
#: A value beneath its label stands no further down than this many times the label's height.
_REACH_BELOW = 2.6
#: Left edges closer than this, in points, are aligned.
_ALIGNMENT = 4.0

# How sure a value is, by where it was found.
BESIDE_LABEL, BELOW_LABEL, BY_POSITION, BY_GUESS = 0.995, 0.97, 0.93, 0.62


@dataclasses.dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """A field's value, None when the document has none, and what it was read from.

    :param cells: the cells that show the value; empty for a missing one.
    :param certainty: 0 to 1.
    """

    value: T | None
    cells: tuple[Cell, ...] = ()
    certainty: float = BESIDE_LABEL


def absent() -> Found[T]:
    """A field that the document does not have."""
    return Found(None)


class Labels:
    """The phrases that announce a kind's fields, as they are printed in several languages.

    A cell is a label when it is a phrase, optionally followed by a currency code or a percentage
    (``Total (EUR)``, ``VAT 20%``), optionally by a colon and the value itself.
    """

    def __init__(self, phrases: Mapping[str, str]) -> None:
        """``phrases``: for each field the ways its label may read, parted by ``|``; case is no matter."""
        fields = "|".join(
            f"(?P<{field}>{'|'.join(re.escape(phrase.strip()) for phrase in alternatives.split('|'))})"
            for field, alternatives in phrases.items()
        )
        self._pattern = re.compile(
            rf"(?:{fields})\.?\s*(?:\(?(?:[A-Z]{{3}}|\d+(?:[.,]\d+)?\s?%)\)?)?\s*(?P<_colon>:\s*(?P<_value>.*))?",
            re.IGNORECASE | re.DOTALL,
        )

    def match(self, text: str) -> tuple[str, str | None] | None:
        """Return the field that ``text`` announces and what follows its colon (None without one)."""
        match = self._pattern.fullmatch(text)
        if match is None:
            return None
        field = next(name for name, phrase in match.groupdict().items() if phrase and name[0] != "_")
        return field, match["_value"]

    def field(self, text: str) -> str | None:
        """Return the field that ``text`` announces."""
        found = self.match(text)
        return found and found[0]


@dataclasses.dataclass(frozen=True, slots=True)
class Hit:
    """A label in its place, and the cells that may hold its value, the likeliest first."""

    label: Cell
    inline: str | None
    beside: tuple[Cell, ...]
    below: Cell | None

    def read(self, parse: Callable[[str], T | None]) -> Found[T]:
        """Return the first candidate that ``parse`` can read."""
        if self.inline and (value := parse(self.inline)) is not None:
            return Found(value, (self.label,), BESIDE_LABEL)
        for cell in self.beside:
            if (value := parse(cell.text)) is not None:
                return Found(value, (cell,), BESIDE_LABEL)
        if self.below and (value := parse(self.below.text)) is not None:
            return Found(value, (self.below,), BELOW_LABEL)
        return absent()


class LabelledLines:
    """Lines searched for labels once; the first appearance of a label counts."""

    def __init__(self, lines: Sequence[Line], labels: Labels) -> None:
        self._lines = lines
        self._labels = labels
        self._hits: dict[str, tuple[int, Hit]] = {}
        for at, line in enumerate(lines):
            for position, cell in enumerate(line.cells):
                if (match := labels.match(cell.text)) and match[0] not in self._hits:
                    self._hits[match[0]] = at, self._hit(at, position, match[1])

    def hit(self, field: str) -> Hit | None:
        """Return where a field is announced."""
        found = self._hits.get(field)
        return found and found[1]

    def read(self, field: str, parse: Callable[[str], T | None]) -> Found[T]:
        """Return a labelled field's value."""
        hit = self.hit(field)
        return absent() if hit is None else hit.read(parse)

    def label_text(self, field: str) -> Found[str]:
        """Return the label itself, for what stands within it (``VAT 20%``)."""
        hit = self.hit(field)
        return absent() if hit is None else Found(hit.label.text, (hit.label,))

    def block_below(self, field: str) -> tuple[Cell, ...]:
        """Return the left-aligned cells beneath a heading, labels among them left out."""
        found = self._hits.get(field)
        return () if found is None else self._block(found[0] + 1, found[1].label)

    def first_block(self) -> tuple[Cell, ...]:
        """Return the block that the document opens with."""
        if not self._lines:
            return ()
        opening = self._lines[0].cells[0]
        return (opening, *self._block(1, opening))

    def _block(self, start: int, heading: Cell) -> tuple[Cell, ...]:
        block, last = [], heading
        for line in self._lines[start:]:
            if line.page != heading.page or line.box.top - last.box.top > _LINE_PITCH * last.box.height:
                break
            aligned = [cell for cell in line.cells if abs(cell.box.left - heading.box.left) < _ALIGNMENT]
            if aligned:
                last = aligned[0]
                if not self._labels.match(last.text):
                    block.append(last)
        return tuple(block)

    def _hit(self, at: int, position: int, inline: str | None) -> Hit:
        line = self._lines[at]
        label = line.cells[position]
        beside = []
        for cell in line.cells[position + 1 :]:
            if self._labels.match(cell.text):
                break
            beside.append(cell)
        # A colon promises the value on the same line; only a bare heading has it underneath.
        below = self._below(at, label) if inline is None else None
        return Hit(label, inline, tuple(beside), below)

    def _below(self, at: int, label: Cell) -> Cell | None:
        for line in self._lines[at + 1 :]:
            distance = line.box.top - label.box.top
            if line.page != label.page or distance > _REACH_BELOW * label.box.height:
                return None
            for cell in line.cells:
                aligned = (
                    abs(cell.box.left - label.box.left) < _ALIGNMENT
                    or abs(cell.box.right - label.box.right) < _ALIGNMENT
                )
                if aligned:
                    return None if self._labels.match(cell.text) else cell
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: for each column its cells, several where a description runs over lines."""

    cells: Mapping[str, tuple[Cell, ...]]

    def read(self, column: str, parse: Callable[[str], T | None]) -> Found[T]:
        """Return the column's value; a missing or unreadable cell is an absent value."""
        cells = self.cells.get(column, ())
        if not cells or (value := parse(" ".join(cell.text for cell in cells))) is None:
            return absent()
        return Found(value, cells, BESIDE_LABEL)


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table, and the document's lines around it."""

    rows: tuple[Row, ...]
    outside: tuple[Line, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class TableReader:
    """How to recognise a table.

    :param columns: labels of the columns; three of them on a line make it a header.
    :param anchor: the columns one of which has a value in every row, and nothing else of that form.
    :param is_anchor: whether a text has that form.
    :param text_column: the column whose text may run on over the following lines.
    :param ends_with: fields whose label ends the table, announced by ``labels``.
    """

    columns: Labels
    anchor: Collection[str]
    is_anchor: Callable[[str], bool]
    text_column: str
    labels: Labels
    ends_with: Collection[str]

    def read(self, lines: Sequence[Line]) -> Table:
        """Read the first table among ``lines``, over page breaks with or without a repeated header."""
        headers = [self._header(line) for line in lines]
        start = next((at for at, header in enumerate(headers) if header), None)
        if start is None:
            return Table((), tuple(lines))
        end = next((at for at in range(start, len(lines)) if self._ends(lines[at])), len(lines))
        rows = tuple(self._rows(lines[start:end], headers[start:end]))
        return Table(rows, (*lines[:start], *lines[end:]))

    def _header(self, line: Line) -> dict[str, Cell]:
        """The columns that a header line names; empty when it is none."""
        if len(line.cells) < 3:
            return {}
        named = {self.columns.field(cell.text) or cell.text: cell for cell in line.cells}
        known = sum(self.columns.field(cell.text) is not None for cell in line.cells)
        return named if known >= 3 and self.text_column in named else {}

    def _ends(self, line: Line) -> bool:
        return any(self.labels.field(cell.text) in self.ends_with for cell in line.cells[:2])

    def _rows(self, lines: Sequence[Line], headers: Sequence[Mapping[str, Cell]]) -> Iterator[Row]:
        repeated_on = {line.page for line, header in zip(lines, headers, strict=True) if header}
        columns = headers[0]
        row: dict[str, tuple[Cell, ...]] = {}
        last: Line | None = None
        page = lines[0].page
        for line, header in zip(lines, headers, strict=True):
            if header:
                columns, page, last = header, line.page, None
                continue
            if line.page != page and line.page in repeated_on:
                continue  # a letterhead above the repeated header
            placed = _place(line, columns)
            if any(self.is_anchor(cell.text) for name in self.anchor for cell in placed.get(name, ())):
                if row:
                    yield Row(row)
                row, last = placed, line
            elif last and self._continues(placed, line, last):
                row = {**row, self.text_column: row.get(self.text_column, ()) + placed[self.text_column]}
                last = line
        if row:
            yield Row(row)

    def _continues(self, placed: Mapping[str, tuple[Cell, ...]], line: Line, last: Line) -> bool:
        near = line.page == last.page and line.box.top - last.box.top < _LINE_PITCH * last.box.height
        return near and set(placed) == {self.text_column}


def _place(line: Line, columns: Mapping[str, Cell]) -> dict[str, tuple[Cell, ...]]:
    """Give each cell to the column whose left or right edge is nearest to the cell's own."""
    placed: dict[str, tuple[Cell, ...]] = {}
    for cell in line.cells:
        name = min(columns, key=lambda column: _distance(cell, columns[column]))
        placed[name] = (*placed.get(name, ()), cell)
    return placed


def _distance(cell: Cell, header: Cell) -> float:
    return min(abs(cell.box.left - header.box.left), abs(cell.box.right - header.box.right))


def joined(cells: Sequence[Cell], separator: str = ", ") -> Found[str]:
    """The text of several lines as one value, e.g. an address."""
    if not cells:
        return absent()
    return Found(separator.join(cell.text for cell in cells), tuple(cells), BY_POSITION)


def text_value(text: str) -> str | None:
    """Text as it stands; None when there is none."""
    return text.strip() or None
