"""The load ledger: which parts have landed, and how many rows there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse.records import Provenance, SchemaContract
from extend_pipeline.warehouse.schema.tables import REFUSED
from extend_pipeline.warehouse.sql import Columns, ColumnType, qualified

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

#: What the relation of parts has to have.
PART: Final[Columns] = {"part": ColumnType.TEXT}


def landed_parts(session: Session, dataset: str) -> Iterator[str]:
    """Yield the names of the parts in the ledger."""
    for page in session.pages("read loads", f"SELECT part FROM {qualified(dataset, 'loads')}"):
        yield from (part for (part,) in page)


def has_part(session: Session, dataset: str, part: str) -> bool:
    """Return True if the ledger has a part."""
    known = f"SELECT 1 FROM {qualified(dataset, 'loads')} WHERE part = ?"
    return bool(session.rows("look for part", known, [part]))


def last_contract(session: Session, dataset: str, provenance: Provenance) -> SchemaContract:
    """Return the schema contract of the last load of a part's workflow and version."""
    last: list[tuple[SchemaContract]] = session.rows(
        "read contract",
        f"""SELECT schema_contract FROM {qualified(dataset, "loads")}
            WHERE workflow_id = ? AND workflow_version_requested = ? AND schema_contract IS NOT NULL
            ORDER BY ended_at DESC LIMIT 1""",
        [provenance.workflow_id, provenance.version or ""],
    )
    return last[0][0] if last else "evolve"


def refused_parts(session: Session, dataset: str) -> Iterator[str]:
    """Yield the names of the parts whose values were withheld."""
    refused = f"SELECT value FROM {qualified(dataset, 'problems')} WHERE code = ?"
    for page in session.pages("read refusals", refused, [REFUSED]):
        yield from (part for (part,) in page)


def forget_parts(session: Session, dataset: str, parts: str) -> None:
    """Remove parts from the ledger, in an open transaction.

    :param parts: the relation of them, see :data:`PART`.
    """
    loads = qualified(dataset, "loads")
    session.run("delete from loads", f"DELETE FROM {loads} WHERE part IN (SELECT part FROM {parts})")


def counts(session: Session, dataset: str, tables: Iterable[str]) -> dict[str, int]:
    """Return the number of rows of each table."""
    found: dict[str, int] = {}
    for table in tables:
        ((count,),) = session.rows("count rows", f"SELECT count(*) FROM {qualified(dataset, table)}")
        found[table] = count
    return found
