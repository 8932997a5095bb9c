r"""For warehouses whose text cannot hold the character NUL: it is replaced, and what it stood in is kept.

U+FFFD takes its place. Each value that had one gets a row in ``problems``, with the value spelt as in JSON,
``\u0000`` for the character, so that nothing is lost.
"""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

from extend_pipeline.warehouse import tables
from extend_pipeline.warehouse.session import Session
from extend_pipeline.warehouse.sql import literal, quoted
from extend_pipeline.warehouse.table_plan import ColumnType
from extend_pipeline.warehouse.tables import Columns

CODE: Final = "NUL_CHARACTER"
_MESSAGE: Final = "The warehouse has no NUL in text: U+FFFD is in the column, and \\u0000 in value."
_TEXTS: Final = (ColumnType.TEXT, ColumnType.JSON)
_REPLACEMENT: Final = "\ufffd"
#: An escaped NUL; what stands before it must be no backslash, or an even number of them.
_IN_JSON: Final = r"((?:^|[^\\])(?:\\\\)*)\\u0000"


def replace(session: Session, dataset: str) -> None:
    """Replace NUL in all texts of the dataset, and tell of each in ``problems``."""
    problems = f"{quoted(dataset)}.problems"
    for table, columns in session.columns(dataset).items():
        target = f"{quoted(dataset)}.{quoted(table)}"
        texts = [_Text.of(column, kind) for column, kind in columns.items() if kind in _TEXTS]
        ((*found,),) = session.rows(
            f"look for NUL in {table}",
            f"SELECT {', '.join(f'bool_or({text.has_nul})' for text in texts)} FROM {target}",
        )
        for text in itertools.compress(texts, found):
            if table == "runs":
                session.run(
                    "delete what was told of NUL in runs",
                    f"""DELETE FROM {problems} WHERE code = {literal(CODE)} AND table_name = 'runs'
                        AND column_name = {literal(text.column)}
                        AND run_id IN (SELECT run_id FROM {target} WHERE {text.has_nul})""",
                )
            if table != "problems":
                row = _problem(table, columns, text)
                session.run(
                    f"tell of NUL in {table}",
                    f"INSERT INTO {problems} BY NAME SELECT {row} FROM {target} WHERE {text.has_nul}",
                )
            # The raw text of a problem is what it is there for.
            value = text.raw if (table, text.column) == ("problems", "value") else text.replaced
            session.run(
                f"replace NUL in {table}",
                f"UPDATE {target} SET {quoted(text.column)} = {value} WHERE {text.has_nul}",
            )


class _Text(NamedTuple):
    """A column of text: whether there is a NUL in it, what is kept of it, and what takes its place."""

    column: str
    has_nul: str
    raw: str
    replaced: str

    @classmethod
    def of(cls, column: str, kind: ColumnType) -> _Text:
        name = quoted(column)
        if kind is ColumnType.TEXT:
            raw, replaced = (f"replace({name}, chr(0), {literal(new)})" for new in ("\\u0000", _REPLACEMENT))
            return cls(column, f"contains({name}, chr(0))", raw, replaced)
        text, pattern, new = f"CAST({name} AS VARCHAR)", literal(_IN_JSON), literal(rf"\1{_REPLACEMENT}")
        replaced = text
        for _ in range(2):  # of two in a row, the first one's end is not looked at again
            replaced = f"regexp_replace({replaced}, {pattern}, {new}, 'g')"
        return cls(column, f"regexp_matches({text}, {pattern})", text, f"CAST({replaced} AS JSON)")


def _problem(table: str, columns: Columns, text: _Text) -> str:
    """Return the row of ``problems``; a run's own has no document, with which it would be replaced."""
    own = [name for name in columns if table != "runs" or name != "document_id"]
    values = {name: quoted(name) for name in (*tables.KEY, "run_id", "path") if name in own}
    values |= {
        "code": literal(CODE),
        "table_name": literal(table),
        "column_name": literal(text.column),
        "value": text.raw,
        "message": literal(_MESSAGE),
        "landed_at": "now()",
    }
    return ", ".join(f"{value} AS {name}" for name, value in values.items())
