"""Migrations: the layout of the fixed tables has a version, which a dataset keeps in ``_schema_version``.

A release that plans or lands in an older dataset first brings it to its own layout: once, and in one
transaction where the engine has transactions for tables. New tables, columns and types follow from
``tables.FIXED``; any other change is a migration. A release refuses a newer dataset before anything is
planned or sent.

Raise the version, with a migration of that number, for any change of ``tables.FIXED``, of what an engine
indexes, or of what a column means. A step that runs twice must do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from extend_pipeline.warehouse.records import WarehouseError
from extend_pipeline.warehouse.schema import tables, views
from extend_pipeline.warehouse.sql import Columns, ColumnType, names, qualified

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

#: No generated name begins with an underscore.
TABLE: Final = "_schema_version"
#: One row per version that the dataset has had; the highest counts.
COLUMNS: Final[Columns] = {"version": ColumnType.INTEGER, "applied_at": ColumnType.TIMESTAMP}


class Migration(NamedTuple):
    """A step from the version before to this version.

    :param apply: takes a session, with a transaction open and no other writer, and the dataset.
    """

    version: int
    what: str
    apply: Callable[[Session, str], None]


def _index_claims(session: Session, dataset: str) -> None:
    if "claims" in session.columns(dataset):
        session.index(dataset, "claims", "document_id")


def _index_documents(session: Session, dataset: str) -> None:
    if "documents" in session.columns(dataset):
        session.index_documents(dataset)


def _nothing(session: Session, dataset: str) -> None:
    """Do nothing: new columns follow from ``tables.FIXED``, and there is nothing to put into them."""


#: In their order. A dataset without a version has version 0: it is older than versions.
MIGRATIONS: Final[Sequence[Migration]] = (
    Migration(1, "claims are found by an index, also where a plan has made their table", _index_claims),
    Migration(2, "fields tell of the cells that a spreadsheet's value was found in", _nothing),
    Migration(
        3, "the page in Airflow finds documents by indexes, where there are a million", _index_documents
    ),
)


def version(
    session: Session, dataset: str, there: Mapping[str, Columns], newest: int = MIGRATIONS[-1].version
) -> int:
    """Return the version of a dataset.

    :param there: its tables.
    :raises WarehouseError: if it is newer than ``newest``.
    """
    if TABLE not in there:
        return 0
    ((found,),) = session.rows(
        "read version", f"SELECT coalesce(max(version), 0) FROM {qualified(dataset, TABLE)}"
    )
    if found > newest:
        raise WarehouseError(
            f"{session.purpose}: dataset {dataset!r} has layout version {found}, and this release of "
            f"extend_pipeline knows versions up to {newest}: a newer release has made or changed it. Nothing "
            "was planned, landed or sent. Install the newer release here too, and clear the task."
        )
    return int(found)


def migrate(
    session: Session,
    dataset: str,
    *,
    make: bool,
    layout: Mapping[str, Columns] = tables.FIXED,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> bool:
    """Bring a dataset to the newest version; return whether it is there.

    :param session: a transaction is open, and no other run plans or lands in the dataset.
    :param make: also give an empty dataset the newest version.
    :raises WarehouseError: if the dataset is of a newer release, or a statement fails; all is as it was then,
        or is continued from there where the engine has no transactions for tables.
    """
    there, newest = session.columns(dataset), migrations[-1].version
    known = version(session, dataset, there, newest)
    if TABLE not in there and not layout.keys() & there.keys():
        if make:
            session.make_schema(dataset)
            _note(session, dataset, there, newest)
        return make
    if known < newest:
        _fit(session, dataset, there, layout)
    for each in migrations:
        if each.version > known:
            each.apply(session, dataset)
            _note(session, dataset, session.columns(dataset), each.version)
    return True


def _fit(session: Session, dataset: str, there: Mapping[str, Columns], layout: Mapping[str, Columns]) -> None:
    """Fit tables, columns and types to the layout; a dataset without documents has claims alone."""
    has_landed = "documents" in there
    changed = any(
        kind is not there[table][column]
        for table in layout.keys() & there.keys()
        for column, kind in layout[table].items()
        if column in there[table]
    )
    if changed:  # few engines change the type of a column that a view reads
        for view in views.VIEWS:
            session.drop_view(dataset, view)
    for table, columns in layout.items():
        if has_landed or table in there:
            session.fit_table(dataset, table, columns, there.get(table))
    if has_landed:
        session.make_views(dataset, views.statements(dataset))


def _note(session: Session, dataset: str, there: Mapping[str, Columns], reached: int) -> None:
    session.fit_table(dataset, TABLE, COLUMNS, there.get(TABLE))
    session.run(
        "write version",
        f"INSERT INTO {qualified(dataset, TABLE)} ({names(COLUMNS)}) VALUES (?, ?)",
        [reached, datetime.now(UTC)],
    )
