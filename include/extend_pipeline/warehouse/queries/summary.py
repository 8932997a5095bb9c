"""Counts of a large dataset, kept so that a page of numbers need not count a million rows.

They are derived: whatever is lost or old here is counted anew after the next run. A dataset that is small has
none, and one of a release before this one has none yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from extend_pipeline.warehouse.queries import seen
from extend_pipeline.warehouse.sql import Columns, ColumnType, names, qualified

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Page, Session

#: No generated name begins with an underscore.
TABLE: Final = "_counts"
#: A row has either a number of documents or credits, of one batch and day. Several counts of the same dataset
#: may be there for a moment; all rows of one have the same ``counted_at``, and the newest counts.
COLUMNS: Final[Columns] = {
    "counted_at": ColumnType.TIMESTAMP,
    "dag_id": ColumnType.TEXT,
    "batch_id": ColumnType.TEXT,
    "day": ColumnType.DATE,
    "status": ColumnType.TEXT,
    "reason": ColumnType.TEXT,
    "waits": ColumnType.TEXT,
    "documents": ColumnType.INTEGER,
    "credits": ColumnType.DECIMAL,
}
#: As many documents are counted in some 50 ms by any engine (Postgres counts a million in 0.4 to 1 s).
SMALL: Final = 50_000


def keep(session: Session, dataset: str, there: Mapping[str, Columns], small: int = SMALL) -> bool:
    """Count a dataset anew if it is large; return whether it is.

    Each statement is a transaction of its own, so no other run waits, and readers see whole counts only.

    :param there: its tables.
    :param small: the number of documents up to which nothing is kept.
    """
    if "loads" not in there or _landed(session, dataset) <= small:
        return False
    session.fit_table(dataset, TABLE, COLUMNS, there.get(TABLE))
    table, now = qualified(dataset, TABLE), datetime.now(UTC)
    session.run(
        "keep counts",
        f"""INSERT INTO {table} ({names(COLUMNS)})
            SELECT CAST(? AS TIMESTAMPTZ), dag_id, batch_id, day, status, reason, waits, count(*),
                   CAST(NULL AS DECIMAL(38, 9))
            FROM ({seen.dated(dataset)}) AS dated
            GROUP BY dag_id, batch_id, day, status, reason, waits
            UNION ALL
            SELECT CAST(? AS TIMESTAMPTZ), dag_id, batch_id, day, CAST(NULL AS VARCHAR),
                   CAST(NULL AS VARCHAR), CAST(NULL AS VARCHAR), CAST(NULL AS BIGINT), sum(credits)
            FROM ({seen.charged(dataset)}) AS charged
            WHERE credits IS NOT NULL GROUP BY dag_id, batch_id, day""",
        [now, now],
    )
    session.run("delete older counts", f"DELETE FROM {table} WHERE counted_at < ?", [now])
    return True


def kept(session: Session, dataset: str, there: Mapping[str, Columns], small: int = SMALL) -> datetime | None:
    """Return when a large dataset was counted; None if it is small or has no counts: count it then."""
    if TABLE not in there or _landed(session, dataset) <= small:
        return None
    newest = f"SELECT max(counted_at) FROM {qualified(dataset, TABLE)}"
    found: list[tuple[datetime | None]] = session.rows("look for counts", newest)
    return found[0][0]


def counts(
    session: Session, dataset: str, dag_ids: Collection[str] | None, since: datetime, counted_at: datetime
) -> Page:
    """Return what :func:`extend_pipeline.warehouse.queries.seen.counts` does, as of ``counted_at``."""
    return session.rows(
        "read counts",
        f"""SELECT day, status, reason, waits, CAST(sum(documents) AS BIGINT) FROM (
                SELECT CASE WHEN document.day >= CAST(? AS DATE) THEN document.day END AS day,
                       document.status, document.reason, document.waits, document.documents
                FROM {qualified(dataset, TABLE)} AS document
                WHERE document.counted_at = ? AND document.documents IS NOT NULL
                    AND {seen.visible(dataset, dag_ids)}
            ) AS dated GROUP BY day, status, reason, waits""",
        [since.date().isoformat(), counted_at],
    )


def credits_by_day(
    session: Session, dataset: str, dag_ids: Collection[str] | None, since: datetime, counted_at: datetime
) -> Page:
    """Return what :func:`extend_pipeline.warehouse.queries.seen.credits_by_day` does."""
    return session.rows(
        "read credits",
        f"""SELECT document.day, CAST(sum(document.credits) AS DOUBLE)
            FROM {qualified(dataset, TABLE)} AS document
            WHERE document.counted_at = ? AND document.credits IS NOT NULL AND document.day >= CAST(? AS DATE)
                AND {seen.visible(dataset, dag_ids)}
            GROUP BY document.day""",
        [counted_at, since.date().isoformat()],
    )


def _landed(session: Session, dataset: str) -> int:
    """Return how many documents have landed, those that have landed twice as two: the ledger is small."""
    landed = f"SELECT CAST(coalesce(sum(documents), 0) AS BIGINT) FROM {qualified(dataset, 'loads')}"
    ((count,),) = session.rows("count what has landed", landed)
    return int(count)
