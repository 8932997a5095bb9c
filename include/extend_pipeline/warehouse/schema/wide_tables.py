"""Tables with more columns than a destination holds in one row: they go on in tables of their own.

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
Parts = dict[str, Columns]
_HASH_DIGITS: Final = 8


def continuation(table: str, number: int) -> str:
    """Return the name of a table's part; the table itself is number 1."""
    if number == 1:
        return table
    suffix = f"__{number}"
    if len(table.encode()) + len(suffix) <= MAX_BYTES:
        return table + suffix
    suffix = f"_{hashlib.sha256(table.encode()).hexdigest()[:_HASH_DIGITS]}{suffix}"
    return table.encode()[: MAX_BYTES - len(suffix)].decode("utf-8", "ignore") + suffix


def parts_of(table: str, there: Mapping[str, Columns]) -> Parts:
    """Return the parts that a table has in the destination, the table itself first."""
    parts: Parts = {}
    while (name := continuation(table, len(parts) + 1)) in there:
        parts[name] = there[name]
    return parts


def joined(parts: Parts) -> dict[str, ColumnType]:
    """Return the columns of the table that the parts make up."""
    return {column: kind for columns in parts.values() for column, kind in columns.items()}


def arranged(table: str, columns: Columns, keys: Set[str], parts: Parts, widest: int | None) -> Parts:
    """Return the parts that a table is to have.

    :param columns: all that it is to have, its keys first.
    :param keys: those that every part has.
    :param parts: what there is.
    :param widest: most columns of a part.
    """
    placed: dict[str, dict[str, ColumnType]] = {name: dict(part) for name, part in parts.items()}
    known = joined(parts)
    shared = {column: kind for column, kind in columns.items() if column in keys}
    for column, kind in columns.items():
        last = list(placed)[-1] if placed else None
        if column in known:
            continue
        if last is None or (widest is not None and len(placed[last]) >= widest and column not in keys):
            last = continuation(table, len(placed) + 1)
            placed[last] = dict(shared)
        placed[last][column] = kind
    return {
        name: {column: columns[column] for column in part if column in columns}
        for name, part in placed.items()
    }
