"""DuckDB's dialect: types, identifiers, literals, and text that becomes a value without guessing."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final


class ColumnType(enum.StrEnum):
    """The type of a column; each warehouse has its own name for it."""

    TEXT = "TEXT"
    INTEGER = "INTEGER"
    #: 29 digits before the point and 9 after it, exactly: money must add up. What BigQuery calls NUMERIC.
    DECIMAL = "DECIMAL"
    DOUBLE = "DOUBLE"
    BOOLEAN = "BOOLEAN"
    DATE = "DATE"
    TIMESTAMP = "TIMESTAMP"
    JSON = "JSON"

    @property
    def family(self) -> str:
        """The types that one column can hold without loss if it is wide enough."""
        return _FAMILIES.get(self, self.value.lower())

    def widened(self, other: ColumnType) -> ColumnType:
        """Return the narrowest type that holds the values of both, exactly.

        :raises ValueError: if they are of two families.
        """
        if other.family != self.family:
            raise ValueError(f"{self} and {other} have no column in common")
        return self if other is self else _WIDEST[self.family]


_FAMILIES: Final = {
    ColumnType.INTEGER: "number",
    ColumnType.DECIMAL: "number",
    ColumnType.DATE: "time",
    ColumnType.TIMESTAMP: "time",
}
_WIDEST: Final = {"number": ColumnType.DECIMAL, "time": ColumnType.TIMESTAMP}

#: The columns of a table, in their order.
Columns = Mapping[str, ColumnType]

TYPES: Final[Mapping[ColumnType, str]] = {
    ColumnType.TEXT: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.DECIMAL: "DECIMAL(38, 9)",
    ColumnType.DOUBLE: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.DATE: "DATE",
    ColumnType.TIMESTAMP: "TIMESTAMPTZ",
    ColumnType.JSON: "JSON",
}

#: The texts that are values of a type. DuckDB alone would round 1.5 to an integer, and accept 'yes' as true
#: and '1_000' as a number.
_ACCEPTED: Final[Mapping[ColumnType, str]] = {
    ColumnType.INTEGER: r"[+-]?\d+(\.0*)?",
    ColumnType.DECIMAL: r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?",
    ColumnType.DOUBLE: r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?",
    ColumnType.BOOLEAN: r"true|false",
    ColumnType.DATE: r"\d{4}-\d{2}-\d{2}",
    ColumnType.TIMESTAMP: r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?",
}


def quoted(name: str) -> str:
    """Return an identifier in quotes."""
    return '"' + name.replace('"', '""') + '"'


def qualified(dataset: str, name: str) -> str:
    """Return the identifier of a table or view in a dataset."""
    return f"{quoted(dataset)}.{quoted(name)}"


def names(columns: Sequence[str] | Columns) -> str:
    """Return identifiers in quotes, separated by commas."""
    return ", ".join(quoted(column) for column in columns)


def literal(text: str) -> str:
    """Return text as an SQL expression; a NUL character, which SQL text cannot hold, as ``chr(0)``."""
    pieces = ("'" + piece.replace("'", "''") + "'" for piece in text.split("\0"))
    return " || chr(0) || ".join(pieces)


def typed(text: str, kind: ColumnType) -> str:
    """Return the expression that reads a value of type ``kind`` from the expression ``text``.

    The result is NULL where the text is not a value of that type; a time without an offset is UTC.
    """
    if kind is ColumnType.TEXT:
        return text
    cast = f"try_cast({text} AS {TYPES[kind]})"
    accepted = _ACCEPTED.get(kind)
    return f"CASE WHEN regexp_full_match({text}, '{accepted}') THEN {cast} END" if accepted else cast


def typed_columns(source: str, columns: Columns) -> str:
    """Return these columns of ``source``, which has them as text, with their types."""
    return ", ".join(f"{typed(f'{source}.{quoted(n)}', t)} AS {quoted(n)}" for n, t in columns.items())


def is_rounded(text: str) -> str:
    """Return the condition that a decimal column loses digits of ``text``: it keeps nine after the point."""
    kept = f"try_cast({text} AS {TYPES[ColumnType.DECIMAL]})"
    return rf"""(
        regexp_full_match({text}, '[+-]?\d*\.\d{{9}}\d*[1-9]\d*')
        OR ({kept} = 0 AND regexp_matches({text}, '^[+-]?[0.]*[1-9]'))
        OR coalesce(try_cast({text} AS DECIMAL(38, 18)) <> try_cast({kept} AS DECIMAL(38, 18)), false)
    )"""


def created(table: str, columns: Columns) -> str:
    """Return the statement that makes a table."""
    return f"CREATE TABLE {table} ({', '.join(f'{quoted(n)} {TYPES[t]}' for n, t in columns.items())})"


def by_table(rows: Iterable[tuple[str, str, ColumnType | None]]) -> dict[str, Columns]:
    """Return the columns of each table.

    :param rows: table, column and type; a column whose type is None (none of ours) is left out.
    """
    found: dict[str, dict[str, ColumnType]] = {}
    for table, column, kind in rows:
        columns = found.setdefault(table, {})
        if kind is not None:
            columns[column] = kind
    return dict(found)


def numbered_texts(columns: Iterable[str]) -> str:
    """Return the columns as text, named ``c0``, ``c1`` and so on; text means the same in every engine."""
    return ", ".join(f"CAST({quoted(column)} AS VARCHAR) AS c{n}" for n, column in enumerate(columns))


def text_columns(columns: Columns) -> dict[str, str]:
    """Return the types by which staged values of these columns are read: JSON as JSON, all else as text."""
    return {name: "JSON" if kind is ColumnType.JSON else "VARCHAR" for name, kind in columns.items()}


def inline_rows(columns: Mapping[str, str], rows: Sequence[Sequence[object]]) -> tuple[str, list[object]]:
    """Return the relation that has these few rows, and its parameters: one list per column."""
    relation = "SELECT " + ", ".join(f"unnest(?::{kind}[]) AS {name}" for name, kind in columns.items())
    return relation, [[row[position] for row in rows] for position in range(len(columns))]
