"""Fields that every kind of document has: its currency, and dates that depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sandbox.reading.finding import BY_GUESS, Found, LabelledLines, absent
from sandbox.reading.model import Line
from sandbox.reading.values import is_ambiguous_date, parse_currency, parse_date


def find_currency(labelled: LabelledLines, lines: Sequence[Line], total_field: str) -> Found[str]:
    """The currency as announced, or the one of the total, or the first that appears anywhere."""
    announced = labelled.read("currency", parse_currency)
    if announced.value:
        return announced
    total = labelled.hit(total_field)
    for cell in (total.label, *total.beside) if total else ():
        if currency := parse_currency(cell.text):
            return Found(currency, (cell,))
    for line in lines:
        for cell in line.cells:
            if currency := parse_currency(cell.text):
                return Found(currency, (cell,), BY_GUESS)
    return absent()


def month_first(currency: str | None) -> bool:
    """Whether 11/02 is in November: where dollars are spent it is."""
    return currency == "USD"


def find_date(labelled: LabelledLines, field: str, currency: str | None) -> Found[str]:
    """A labelled date, less certain where day and month could be exchanged."""
    found = labelled.read(field, partial(parse_date, month_first=month_first(currency)))
    return doubted(found)


def doubted(found: Found[str]) -> Found[str]:
    """The same date, less certain where day and month could be exchanged."""
    if any(is_ambiguous_date(cell.text) for cell in found.cells):
        return Found(found.value, found.cells, BY_GUESS)
    return found
