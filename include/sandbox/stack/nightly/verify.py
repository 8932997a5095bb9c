"""Compares landed documents with the truth: pure, over plain rows.

Values are compared by place, e.g. ``("line_items", 0, "amount")``. Null and absent are the same, because
a column cannot tell them apart.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from sandbox.documents import ExpectedResult

#: A place in a document's value: keys, and positions in lists from 0.
Place = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class LandedDocument:
    """One document in the warehouse.

    :param kind: the extractor's table with a row of the document; None if there is none.
    :param values: its values from the extractor's tables, without nulls.
    """

    status: str
    reason: str | None
    kind: str | None = None
    values: Mapping[Place, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the warehouse and the truth."""

    key: str
    what: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.what} is {self.found!r}, expected {self.expected!r}"


def differences(
    expected: Iterable[ExpectedResult], landed: Iterable[tuple[str, LandedDocument]]
) -> Iterator[Difference]:
    """Yield the differences between the warehouse and the truth.

    :param landed: pairs of an object's key and its row.
    """
    rows: dict[str, list[LandedDocument]] = {}
    for key, document in landed:
        rows.setdefault(key, []).append(document)
    for result in expected:
        found = rows.pop(result.key, [])
        if len(found) != 1:
            yield Difference(result.key, "number of rows", 1, len(found))
        else:
            yield from _document_differences(result, found[0])
    for key, strangers in rows.items():
        yield Difference(key, "number of rows", 0, len(strangers))


def _document_differences(expected: ExpectedResult, found: LandedDocument) -> Iterator[Difference]:
    for what in ("status", "reason", "kind"):
        if getattr(expected, what) != getattr(found, what):
            yield Difference(expected.key, what, getattr(expected, what), getattr(found, what))
    if expected.kind != found.kind:
        return
    values = dict(places(expected.value or {}))
    for place in sorted(values.keys() | found.values.keys(), key=str):
        if not equal(values.get(place), found.values.get(place)):
            yield Difference(expected.key, _spelled(place), values.get(place), found.values.get(place))


def places(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield each scalar of a JSON value that is not null, with its place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from places(item, (*place, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from places(item, (*place, position))
    elif value is not None:
        yield place, value


def equal(expected: Any, found: Any) -> bool:
    """Return True if a column's value equals a JSON value: numbers exactly, dates by their ISO form."""
    if isinstance(found, Decimal | int | float) and not isinstance(found, bool):
        is_number = isinstance(expected, int | float) and not isinstance(expected, bool)
        return is_number and Decimal(str(expected)) == Decimal(str(found))
    if isinstance(found, dt.date):
        return bool(expected == found.isoformat())
    return bool(expected == found)


def _spelled(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")
