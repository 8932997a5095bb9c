"""The table ``dictionary`` of a dataset: reading it, and writing what an extractor's schema has changed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse.records import SchemaContract
from extend_pipeline.warehouse.schema import tables
from extend_pipeline.warehouse.schema.dictionary import Dictionary
from extend_pipeline.warehouse.sql import inline_rows, names, qualified

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

_TABLE: Final = "dictionary"
_WIDENED: Final = ("table_name", "column_name", "type")
#: The columns that distinguish one problem of a name or a type from another.
_SAME: Final = ("code", "table_name", "column_name", "path")


def read(session: Session, dataset: str, contract: SchemaContract) -> Dictionary:
    """Return what the dataset's dictionary holds."""
    return Dictionary(session.rows("read dictionary", f"FROM {qualified(dataset, _TABLE)}"), contract)


def write(session: Session, dataset: str, dictionary: Dictionary, *, load: str) -> Counter[str]:
    """Write new entries of the dictionary in the open transaction; return the number of rows by table.

    Each changed name and type is recorded as a problem once, however often it happens.

    :param load: the relation of the one row that says where the part comes from.
    """
    rows: Counter[str] = Counter()
    if dictionary.added:
        columns = dict.fromkeys(tables.DICTIONARY, "VARCHAR")
        added, parameters = inline_rows(columns, dictionary.added)
        rows[_TABLE] += session.insert(dataset, _TABLE, tables.DICTIONARY, added, parameters)
    if dictionary.widened:
        wider, parameters = inline_rows(dict.fromkeys(_WIDENED, "VARCHAR"), dictionary.widened)
        session.run(
            "widen dictionary",
            f"""UPDATE {qualified(dataset, _TABLE)} AS known SET type = wider.type FROM ({wider}) AS wider
                WHERE known.table_name = wider.table_name AND known.column_name = wider.column_name""",
            parameters,
        )
    if dictionary.problems:
        columns = dict.fromkeys((*_SAME, "message"), "VARCHAR")
        session.stage("_misfits", *inline_rows(columns, dictionary.problems))
        conditions = " AND ".join(f"problem.{name} = misfit.{name}" for name in _SAME)
        session.run(
            "delete misfits",
            f"DELETE FROM {qualified(dataset, 'problems')} AS problem USING _misfits AS misfit "
            f"WHERE problem.document_id IS NULL AND {conditions}",
        )
        rows["problems"] += session.insert(
            dataset,
            "problems",
            tables.PROBLEMS,
            f"""SELECT NULL, workflow_id, workflow_version_requested, NULL, {names(_SAME)}, NULL, message,
                       landed_at
                FROM _misfits CROSS JOIN {load}""",
        )
    return rows
