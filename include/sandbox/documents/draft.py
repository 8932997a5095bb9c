"""The content of a document before it is printed: each text with the fields that it shows."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from sandbox.documents.locales import Locale
from sandbox.reading.model import DocumentType, KnownDocument, Mark
from sandbox.reading.schemas import empty_value, leaves

Layout = Literal["letterhead", "stacked", "statement", "strip"]

#: Confidence in a printed field, and in a date whose day and month could be confused.
CERTAIN, AMBIGUOUS = 0.995, 0.62
_STEP = re.compile(r"(\w+)(?:\[(\d+)\])?")


class Printed(NamedTuple):
    """A text and the fields that it shows, by path (``line_items[0].amount``)."""

    text: str
    fields: Mapping[str, Any] = MappingProxyType({})
    certainty: float = CERTAIN

    def labelled(self, label: str) -> Printed:
        """Return the text with a label in front."""
        return self._replace(text=f"{label}: {self.text}")


class Column(NamedTuple):
    """A column of a table: ``width`` points wide and left-aligned, or right-aligned. One column may wrap."""

    label: str
    width: float = 0.0
    is_right: bool = False
    wraps: bool = False


@dataclasses.dataclass(slots=True)
class Party:
    """A person or company with an address; ``more`` are further lines with labels."""

    role: str
    name: Printed
    address: Sequence[Printed] = ()
    more: Sequence[tuple[str, Printed]] = ()

    @property
    def lines(self) -> list[Printed]:
        """All lines below the name."""
        return [*self.address, *(text.labelled(label) for label, text in self.more)]


@dataclasses.dataclass(slots=True)
class Draft:
    """A document before it is printed.

    :param created: creation date in the file's properties.
    :param has_header: a line above the rows names the columns; with ``repeats_header`` on every page.
    """

    kind: DocumentType
    layout: Layout
    locale: Locale
    created: dt.date
    title: str
    issuer: Party
    addressee: Party | None = None
    facts: list[tuple[str, Printed]] = dataclasses.field(default_factory=list)
    columns: Sequence[Column] = ()
    rows: list[list[Printed]] = dataclasses.field(default_factory=list)
    totals: list[tuple[Printed, Printed]] = dataclasses.field(default_factory=list)
    closing: str = ""
    has_header: bool = True
    repeats_header: bool = True

    def money(self, path: str, amount: Decimal, **more: Any) -> Printed:
        """Return an amount as it is printed; ``more`` are further fields that the text shows."""
        return Printed(self.locale.amount(amount), {path: float(amount), **more})

    def date(self, path: str, day: dt.date) -> Printed:
        """Return a date as it is printed."""
        certainty = AMBIGUOUS if self.locale.is_ambiguous(day) else CERTAIN
        return Printed(self.locale.date(day), {path: day.isoformat()}, certainty)

    def known(self, marks: Sequence[Mark], pages: int = 1) -> KnownDocument:
        """Return the truth of the printed document.

        :param marks: where each field was printed.
        :raises ValueError: a field was not printed.
        """
        if self.kind == "other":
            return KnownDocument(self.kind, 1, pages)
        value: dict[str, Any] = empty_value(self.kind)
        for text in self._texts():
            for path, field in text.fields.items():
                _put(value, path, field)
        shown = {field for mark in marks for field in mark.fields}
        if missing := [path for path, field in leaves(value) if field is not None and path not in shown]:
            raise ValueError(f"{self.layout} does not print {', '.join(missing)}")
        return KnownDocument(self.kind, 1, pages, value, tuple(marks))

    def _texts(self) -> Iterator[Printed]:
        for party in (self.issuer, self.addressee):
            if party:
                yield from (party.name, *party.lines)
        yield from (text for _, text in self.facts)
        yield from (text for texts in (*self.rows, *self.totals) for text in texts)


def address_of(path: str, lines: Iterable[str]) -> list[Printed]:
    """Return the lines of an address; all of them together are one field."""
    whole = ", ".join(lines)
    return [Printed(line, {path: whole}) for line in lines]


def _put(value: Any, path: str, field: Any) -> None:
    *outer, last = path.split(".")
    for step in outer:
        name, position = _STEP.fullmatch(step).groups()  # type: ignore[union-attr]
        value = value[name]
        if position:
            value += [{}] * (int(position) + 1 - len(value))
            value[int(position)] = value = dict(value[int(position)])
    value[last] = field
