r"""Values that a warehouse cannot hold: each is replaced visibly and has a row in ``problems``.

U+FFFD replaces the character NUL; the problem has the value spelt as in JSON, ``\u0000`` for the character. A
text that is too long is cut and ends in an ellipsis. JSON that is too long becomes null, because a part of it
is no JSON, and so does a date that the warehouse's calendar does not have. The raw zone keeps the originals.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from extend_pipeline.warehouse.remote.dialect import Dialect
from extend_pipeline.warehouse.schema import tables
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.sql import Columns, ColumnType, literal, quoted

_TEXTS: Final = (ColumnType.TEXT, ColumnType.JSON)
#: The first and the last of the years 1 to 9999.
_YEARS: Final = {
    ColumnType.DATE: ("DATE '0001-01-01'", "DATE '9999-12-31'"),
    ColumnType.TIMESTAMP: (
        "TIMESTAMPTZ '0001-01-01 00:00:00+00'",
        "TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'",
    ),
}
_REPLACEMENT: Final = "\ufffd"
_ELLIPSIS: Final = "…"
#: Bytes that a character has at most; the ellipsis has fewer.
_WIDEST_CHARACTER: Final = 4
#: An escaped NUL; what stands before it must be no backslash, or an even number of them.
_IN_JSON: Final = r"((?:^|[^\\])(?:\\\\)*)\\u0000"


class _Value(NamedTuple):
    """SQL about a column: when a value exceeds the limit, its text in ``problems``, its replacement."""

    column: str
    exceeded: str
    recorded: str
    replaced: str


class _Limit(NamedTuple):
    """What the warehouse cannot hold.

    :ivar of: from a column and its type to what is to be done there.
    :ivar kinds: the types of the columns that it is about.
    """

    code: str
    message: str
    of: Callable[[str, ColumnType], _Value]
    kinds: Collection[ColumnType] = _TEXTS


def replace(session: Session, dataset: str, dialect: Dialect) -> None:
    """Replace what exceeds a limit in all columns of the dataset; add a row to ``problems`` for each."""
    for limit in _limits(dialect):
        _replace(session, dataset, limit)


def _limits(dialect: Dialect) -> Iterator[_Limit]:
    if not dialect.holds_nul:
        message = "The warehouse has no NUL in text: U+FFFD is in the column, and \\u0000 in value."
        yield _Limit("NUL_CHARACTER", message, _nul)
    longest = dialect.longest
    if longest is not None:
        message = (
            f"The warehouse has no text of more than {longest} bytes: the column has its beginning, or null "
            "if it is JSON. The raw zone has all of it."
        )
        yield _Limit("TEXT_TOO_LONG", message, lambda column, kind: _too_long(column, kind, longest))
    if not dialect.every_year:
        message = "The warehouse has the years 1 to 9999: the column is null. The raw zone has the value."
        yield _Limit("YEAR_OUT_OF_RANGE", message, _of_another_year, tuple(_YEARS))


def _replace(session: Session, dataset: str, limit: _Limit) -> None:
    problems = f"{quoted(dataset)}.problems"
    for table, columns in session.columns(dataset).items():
        target = f"{quoted(dataset)}.{quoted(table)}"
        texts = [limit.of(column, kind) for column, kind in columns.items() if kind in limit.kinds]
        if not texts:
            continue
        ((*found,),) = session.rows(
            f"look for {limit.code} in {table}",
            f"SELECT {', '.join(f'bool_or({text.exceeded})' for text in texts)} FROM {target}",
        )
        for text in itertools.compress(texts, found):
            if table == "runs":
                session.run(
                    f"delete problems {limit.code} of runs",
                    f"""DELETE FROM {problems} WHERE code = {literal(limit.code)} AND table_name = 'runs'
                        AND column_name = {literal(text.column)}
                        AND run_id IN (SELECT run_id FROM {target} WHERE {text.exceeded})""",
                )
            if table != "problems":
                row = _problem(table, columns, text, limit)
                session.run(
                    f"record {limit.code} in {table}",
                    f"INSERT INTO {problems} BY NAME SELECT {row} FROM {target} WHERE {text.exceeded}",
                )
            # A problem keeps the raw text.
            value = text.recorded if (table, text.column) == ("problems", "value") else text.replaced
            session.run(
                f"replace {limit.code} in {table}",
                f"UPDATE {target} SET {quoted(text.column)} = {value} WHERE {text.exceeded}",
            )


def _nul(column: str, kind: ColumnType) -> _Value:
    name = quoted(column)
    if kind is ColumnType.TEXT:
        recorded, replaced = (f"replace({name}, chr(0), {literal(new)})" for new in ("\\u0000", _REPLACEMENT))
        return _Value(column, f"contains({name}, chr(0))", recorded, replaced)
    text, pattern, new = f"CAST({name} AS VARCHAR)", literal(_IN_JSON), literal(rf"\1{_REPLACEMENT}")
    replaced = text
    for _ in range(2):  # where two follow each other, the end of the first is not matched again
        replaced = f"regexp_replace({replaced}, {pattern}, {new}, 'g')"
    return _Value(column, f"regexp_matches({text}, {pattern})", text, f"CAST({replaced} AS JSON)")


def _too_long(column: str, kind: ColumnType, longest: int) -> _Value:
    text = f"CAST({quoted(column)} AS VARCHAR)"
    beginning = f"left({text}, {longest // _WIDEST_CHARACTER - 1}) || {literal(_ELLIPSIS)}"
    replaced = "NULL" if kind is ColumnType.JSON else beginning
    return _Value(column, f"strlen({text}) > {longest}", beginning, replaced)


def _of_another_year(column: str, kind: ColumnType) -> _Value:
    name, (first, last) = quoted(column), _YEARS[kind]
    return _Value(column, f"{name} NOT BETWEEN {first} AND {last}", f"CAST({name} AS VARCHAR)", "NULL")


def _problem(table: str, columns: Columns, text: _Value, limit: _Limit) -> str:
    """Return the row of ``problems``; a run's problem has no document, or it would be replaced with one."""
    own = [name for name in columns if table != "runs" or name != "document_id"]
    values = {name: quoted(name) for name in (*tables.KEY, "run_id", "path") if name in own}
    values |= {
        "code": literal(limit.code),
        "table_name": literal(table),
        "column_name": literal(text.column),
        "value": text.recorded,
        "message": literal(limit.message),
        "landed_at": "now()",
    }
    return ", ".join(f"{value} AS {name}" for name, value in values.items())
