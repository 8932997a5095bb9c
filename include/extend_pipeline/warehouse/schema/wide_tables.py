"""Tables with more columns than a destination holds in one row: they continue in further tables.

``invoices`` is continued in ``invoices__2``, ``invoices__3`` and so on, each with the same keys and as many
rows. No generated name has two underscores in a row, so that none is taken. A column stays where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from typing import Final

from extend_pipeline.warehouse.schema.names import MAX_BYTES
from extend_pipeline.warehouse.sql import Columns, ColumnType

#: By the name of a table in the destination, the columns that it has there.
Segments = dict[str, Columns]
_HASH_DIGITS: Final = 8


def segment_name(table: str, number: int) -> str:
    """Return the name of a table's segment; the table itself is number 1."""
    if number == 1:
        return table
    suffix = f"__{number}"
    if len(table.encode()) + len(suffix) <= MAX_BYTES:
        return table + suffix
    suffix = f"_{hashlib.sha256(table.encode()).hexdigest()[:_HASH_DIGITS]}{suffix}"
    return table.encode()[: MAX_BYTES - len(suffix)].decode("utf-8", "ignore") + suffix


def segments_of(table: str, there: Mapping[str, Columns]) -> Segments:
    """Return the segments that a table has in the destination, the table itself first."""
    segments: Segments = {}
    while (name := segment_name(table, len(segments) + 1)) in there:
        segments[name] = there[name]
    return segments


def joined(segments: Segments) -> dict[str, ColumnType]:
    """Return the columns of the table that the segments make up."""
    return {column: kind for columns in segments.values() for column, kind in columns.items()}


def segmented(
    table: str, columns: Columns, keys: Set[str], segments: Segments, widest: int | None
) -> Segments:
    """Return the segments that a table is to have.

    :param columns: all of its columns, the keys first.
    :param keys: the columns that every segment has.
    :param segments: those that exist.
    :param widest: the most columns of a segment.
    """
    placed: dict[str, dict[str, ColumnType]] = {name: dict(segment) for name, segment in segments.items()}
    known = joined(segments)
    shared = {column: kind for column, kind in columns.items() if column in keys}
    for column, kind in columns.items():
        last = list(placed)[-1] if placed else None
        if column in known:
            continue
        if last is None or (widest is not None and len(placed[last]) >= widest and column not in keys):
            last = segment_name(table, len(placed) + 1)
            placed[last] = dict(shared)
        placed[last][column] = kind
    return {
        name: {column: columns[column] for column in segment if column in columns}
        for name, segment in placed.items()
    }
