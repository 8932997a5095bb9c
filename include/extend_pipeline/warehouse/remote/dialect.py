"""From DuckDB's dialect, in which every statement is written once, to the dialect of another engine."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.sql import ColumnType, literal

if TYPE_CHECKING:
    from sqlglot import exp

_UPPER: Final = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)


@dataclasses.dataclass(frozen=True, slots=True)
class Dialect:
    """What is to be known of an engine to write for it.

    :ivar name: what sqlglot calls it.
    :ivar types: the engine's word for each type of column.
    :ivar upper_case: names that are not quoted are taken for capitals, so capitals are what they become.
    :ivar holds_nul: text may hold the character NUL.
    :ivar widest: most columns that a table may have whatever is in them; None if there is no such number.
    :ivar longest: most bytes that a text, or JSON as text, may have; None if there is no such number.
    :ivar every_year: days may lie before the year 1, or after 9999.
    :ivar rewritten: takes a node of a statement; returns it, or what the engine has in its place.
    """

    name: str
    types: Mapping[ColumnType, str]
    upper_case: bool = False
    holds_nul: bool = True
    widest: int | None = None
    longest: int | None = None
    every_year: bool = True
    rewritten: Callable[[exp.Expr], exp.Expr] | None = None

    def identifier(self, name: str) -> str:
        """Return what a name of ours is called in the engine."""
        return name.translate(_UPPER) if self.upper_case else name

    def translated(self, sql: str, parameters: Sequence[object] | None = None) -> str:
        """Return the statement as the engine wants it, its ``?`` replaced by literals.

        :raises sqlglot.errors.UnsupportedError: if there is no such statement in the engine.
        """
        import sqlglot

        tree = sqlglot.parse_one(bound(sql, parameters or ()), read="duckdb").transform(self._renamed)
        if self.rewritten is not None:
            tree = tree.transform(self.rewritten)
        return tree.sql(dialect=self.name, identify=True, unsupported_level=sqlglot.ErrorLevel.RAISE)

    def _renamed(self, node: exp.Expr) -> exp.Expr:
        from sqlglot import exp

        if isinstance(node, exp.Identifier):
            return exp.to_identifier(self.identifier(node.this), quoted=True)
        if isinstance(node, exp.DataType) and node.is_type(exp.DType.JSON):
            return exp.DataType.build(self.types[ColumnType.JSON], dialect=self.name)
        return node


def bound(sql: str, parameters: Sequence[object]) -> str:
    """Return a statement of DuckDB's dialect with a literal for each ``?``, in their order."""
    import sqlglot

    places = [
        token.start
        for token in sqlglot.tokenize(sql, read="duckdb")
        if token.token_type is sqlglot.TokenType.PLACEHOLDER
    ]
    for place, value in reversed(list(zip(places, parameters, strict=True))):
        sql = sql[:place] + _literal(value) + sql[place + 1 :]
    return sql


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, datetime):
        return f"CAST({literal(value.astimezone(UTC).isoformat(sep=' '))} AS TIMESTAMPTZ)"
    return literal(str(value))
