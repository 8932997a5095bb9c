"""The preflight: what planning and landing write, tried before a document is paid for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse.queries import claims
from extend_pipeline.warehouse.schema import migrations
from extend_pipeline.warehouse.sql import Columns, ColumnType, qualified

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

#: The table that is made, filled, emptied and dropped.
_TABLE: Final = "_preflight"
COLUMNS: Final[Columns] = {"probe": ColumnType.TEXT}
_ADDED: Final[Columns] = {kind.name.lower(): kind for kind in ColumnType}
#: Rows for it, as JSON lines.
LINES: Final = [b'{"probe":"x"}\n']


class UndoneError(Exception):
    """Undoes a transaction: nothing of it may stay."""


def try_planning(session: Session, dataset: str, relation: Callable[[], str]) -> None:
    """Write what a plan writes, in a transaction that is open.

    :param relation: makes the relation of :data:`LINES`.
    """
    table = qualified(dataset, _TABLE)
    # Before the first table, as planning does: where nothing can be undone, the version stays, too.
    migrations.migrate(session, dataset, make=True)
    claims.make_claims(session, dataset)
    session.run("drop what was left", f"DROP TABLE IF EXISTS {table}")
    session.make_table(dataset, _TABLE, COLUMNS)
    session.fit_table(dataset, _TABLE, {**COLUMNS, **_ADDED}, COLUMNS)
    session.run("insert into it", f"INSERT INTO {table} (probe) SELECT probe FROM {relation()}")
    session.run("delete from it", f"DELETE FROM {table} WHERE probe = 'x'")
    session.run("drop it", f"DROP TABLE {table}")


def try_writing(session: Session, dataset: str, tables: Iterable[str]) -> None:
    """Delete and insert no rows in each table, in a transaction that is open."""
    session.start_writing()
    for name in tables:
        table = qualified(dataset, name)
        session.run(f"delete from {name}", f"DELETE FROM {table} WHERE 1 = 0")
        session.run(f"insert into {name}", f"INSERT INTO {table} SELECT * FROM {table} WHERE 1 = 0")
