"""Transpiling statements, each of which is written once, from DuckDB's dialect to that of another engine."""

from __future__ import annotations

import dataclasses
import functools
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.sql import ColumnType, literal

if TYPE_CHECKING:
    from sqlglot import exp

_UPPER: Final = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)


@dataclasses.dataclass(frozen=True, eq=False)
class Dialect:
    """What statements, tables and values have to respect in an engine; there is one object for each engine.

    :ivar name: what sqlglot calls it.
    :ivar types: the engine's name of each column type.
    :ivar upper_case: the engine folds unquoted names to upper case, so our names are written in upper case.
    :ivar holds_nul: text may hold the character NUL.
    :ivar widest: the most columns that a table may have; None for no limit.
    :ivar longest: the most bytes that a text, or JSON as text, may have; None for no limit.
    :ivar every_year: dates may lie before the year 1 or after 9999.
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
        """Return the engine's identifier for one of our names."""
        return name.translate(_UPPER) if self.upper_case else name

    def transpiled(self, sql: str, parameters: Sequence[object] | None = None) -> str:
        """Return the statement in the engine's dialect, its ``?`` replaced by literals.

        :raises sqlglot.errors.UnsupportedError: if the engine has no such statement.
        """
        return _transpiled(self, bound(sql, parameters or ()))

    def _renamed(self, node: exp.Expr) -> exp.Expr:
        from sqlglot import exp

        if isinstance(node, exp.Identifier):
            return exp.to_identifier(self.identifier(node.this), quoted=True)
        if isinstance(node, exp.DataType) and node.is_type(exp.DType.JSON):
            return exp.DataType.build(self.types[ColumnType.JSON], dialect=self.name)
        return node


@functools.lru_cache(maxsize=128)
def _transpiled(dialect: Dialect, sql: str) -> str:
    """Transpile a statement; a load repeats many, and the views' are long."""
    import sqlglot

    tree = sqlglot.parse_one(sql, read="duckdb").transform(dialect._renamed)
    if dialect.rewritten is not None:
        tree = tree.transform(dialect.rewritten)
    return tree.sql(dialect=dialect.name, identify=True, unsupported_level=sqlglot.ErrorLevel.RAISE)


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
