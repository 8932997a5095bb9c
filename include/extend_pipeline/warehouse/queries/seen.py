"""What a person sees of a dataset: counts by day, dead letters, what waits for somebody, a search.

Nothing is written. Every query takes the DAGs whose documents the person may see, see :func:`visible`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.documents import RUN_DELETED
from extend_pipeline.warehouse.schema.tables import WAITING, WAS_SENT
from extend_pipeline.warehouse.sql import literal, qualified

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Page, Session

#: The DAGs whose documents may be seen; None: all.
Dags = Collection[str] | None
#: The same documents as in the view ``dead_letters``, and those of ``in_review``.
_DEAD: Final = f"(document.status IN ('FAILED', 'CANCELLED') AND {WAS_SENT})"
_WAITS: Final = f"""CASE WHEN document.approval = {literal(WAITING)} THEN 'approval'
    WHEN document.status = 'NEEDS_REVIEW' AND coalesce(document.reason, '') <> {literal(RUN_DELETED)}
    THEN 'review' END"""
_REASON: Final = "coalesce(nullif(document.reason, ''), document.status)"
_FOUND: Final = ", ".join(
    f"document.{name}"
    for name in (
        *("document_id", "uri", "name", "workflow_id", "workflow_version_requested"),
        *("status", "reason", "landed_at"),
    )
)
#: Characters at the beginning of an address, and of a file name, by which an engine with indexes finds them.
INDEXED: Final = 200
#: Of so many documents a search looks at the whole address.
RECENT: Final = 50_000


def visible(dataset: str, dag_ids: Dags) -> str:
    """Return the condition that the rows of ``document`` were landed by these DAGs alone.

    A review or a later run lands a document again, by another DAG, so its whole batch is looked at.

    :param dag_ids: None: all documents.
    """
    if dag_ids is None:
        return "true"
    if not dag_ids:
        return "false"
    known = ", ".join(literal(dag_id) for dag_id in sorted(dag_ids))
    return f"""(document.dag_id IN ({known}) AND (document.batch_id IS NULL OR NOT EXISTS (
        SELECT 1 FROM {qualified(dataset, "loads")} AS load WHERE load.batch_id = document.batch_id
        AND (load.dag_id IS NULL OR load.dag_id NOT IN ({known})))))"""


def landing_dags(session: Session, dataset: str) -> set[str | None]:
    """Return the DAGs that have landed anything."""
    dags = f"SELECT DISTINCT dag_id FROM {qualified(dataset, 'loads')}"
    return {dag_id for (dag_id,) in session.rows("read DAGs", dags)}


def dated(dataset: str) -> str:
    """Return the query of all documents with the day that they were sent, and what they wait for."""
    return f"""SELECT document.dag_id, document.batch_id, {_day("document")} AS day,
                      document.status AS status, CASE WHEN {_DEAD} THEN {_REASON} END AS reason,
                      {_WAITS} AS waits
               FROM {qualified(dataset, "documents")} AS document"""


def charged(dataset: str) -> str:
    """Return the query of all runs with the day on which they began."""
    return f"""SELECT document.dag_id, document.batch_id, {_day("document")} AS day, document.credits
               FROM {qualified(dataset, "runs")} AS document"""


def counts(session: Session, dataset: str, dag_ids: Dags, since: datetime) -> Page:
    """Return rows of day, status, reason of a dead letter, what is waited for, and the number of documents.

    The day is null for documents that were sent before ``since``.
    """
    return session.rows(
        "count documents",
        f"""SELECT day, status, reason, waits, count(*) FROM (
                SELECT CASE WHEN document.day >= CAST(? AS DATE) THEN document.day END AS day,
                       document.status, document.reason, document.waits
                FROM ({dated(dataset)}) AS document WHERE {visible(dataset, dag_ids)}
            ) AS dated GROUP BY day, status, reason, waits""",
        [since.date().isoformat()],
    )


def credits_by_day(session: Session, dataset: str, dag_ids: Dags, since: datetime) -> Page:
    """Return the credits of all runs that began on each day; runs have what :func:`visible` looks at."""
    return session.rows(
        "add up credits",
        f"""SELECT document.day, CAST(sum(document.credits) AS DOUBLE)
            FROM ({charged(dataset)}) AS document
            WHERE document.day >= CAST(? AS DATE) AND {visible(dataset, dag_ids)}
            GROUP BY document.day""",
        [since.date().isoformat()],
    )


def reservations(session: Session, dataset: str) -> tuple[int, int, datetime | None]:
    """Return how many chunks and documents are reserved, and since when the oldest is."""
    claims = qualified(dataset, "claims")
    ((chunks, documents, oldest),) = session.rows(
        "count claims", f"SELECT count(DISTINCT chunk), count(*), min(claimed_at) FROM {claims}"
    )
    return chunks, documents, oldest


def dead_letter_counts(session: Session, dataset: str, dag_ids: Dags) -> Page:
    """Return rows of workflow, version, reason and the number of dead letters."""
    return session.rows(
        "count dead letters",
        f"""SELECT workflow_id, workflow_version_requested, reason, count(*) FROM (
                SELECT document.workflow_id, document.workflow_version_requested, {_REASON} AS reason
                FROM {qualified(dataset, "documents")} AS document WHERE {_DEAD}
                AND {visible(dataset, dag_ids)}
            ) AS dead GROUP BY workflow_id, workflow_version_requested, reason""",
    )


def dead_letters(
    session: Session,
    dataset: str,
    dag_ids: Dags,
    *,
    reason: str | None,
    limit: int,
    offset: int,
    claims: bool,
) -> Page:
    """Return a page of dead letters, the latest first.

    :param claims: whether the dataset has a table of claims.
    """
    chosen = f"{_REASON} = ?" if reason else "true"
    is_claimed = (
        f"""EXISTS (SELECT 1 FROM {qualified(dataset, "claims")} AS claim
            WHERE claim.document_id = document.document_id AND claim.workflow_id = document.workflow_id
            AND claim.workflow_version_requested = document.workflow_version_requested)"""
        if claims
        else "false"
    )
    return session.rows(
        "read dead letters",
        f"""SELECT document.document_id, document.uri, document.name, document.workflow_id,
                   document.workflow_version_requested, document.status, {_REASON} AS reason,
                   document.message, document.landed_at, document.attempts,
                   CAST(document.credits AS DOUBLE) AS credits, {is_claimed} AS resending,
                   document.dashboard_url, document.dag_id, document.dag_run_id
            FROM {qualified(dataset, "documents")} AS document WHERE {_DEAD} AND {chosen}
                AND {visible(dataset, dag_ids)}
            ORDER BY document.landed_at DESC, document.document_id, document.workflow_id,
                     document.workflow_version_requested
            LIMIT {limit:d} OFFSET {offset:d}""",
        [reason] if reason else [],
    )


def waiting_counts(session: Session, dataset: str, dag_ids: Dags) -> dict[str, int]:
    """Return how many documents wait for a ``review``, and for an ``approval``."""
    found = session.rows(
        "count reviews",
        f"""SELECT waits, count(*) FROM (
                SELECT {_WAITS} AS waits FROM {qualified(dataset, "documents")} AS document
                WHERE (document.status = 'NEEDS_REVIEW' OR document.approval = {literal(WAITING)})
                AND {visible(dataset, dag_ids)}
            ) AS waiting WHERE waits IS NOT NULL GROUP BY waits""",
    )
    return dict(found)


def waiting(session: Session, dataset: str, dag_ids: Dags, *, limit: int, offset: int) -> Page:
    """Return a page of what waits for somebody, what has waited longest first."""
    return session.rows(
        "read reviews",
        f"""SELECT document_id, uri, name, waits, since, low_confidence, lowest_confidence, credits,
                   dashboard_url, dag_id, dag_run_id FROM (
                SELECT document.document_id, document.uri, document.name, {_WAITS} AS waits,
                       CASE WHEN document.approval = {literal(WAITING)} THEN document.landed_at ELSE coalesce(
                            document.updated_at, document.ended_at, document.landed_at) END AS since,
                       document.low_confidence, document.lowest_confidence,
                       CAST(document.credits AS DOUBLE) AS credits, document.dashboard_url, document.dag_id,
                       document.dag_run_id
                FROM {qualified(dataset, "documents")} AS document
                WHERE (document.status = 'NEEDS_REVIEW' OR document.approval = {literal(WAITING)})
                AND {visible(dataset, dag_ids)}
            ) AS waiting WHERE waits IS NOT NULL
            ORDER BY since, document_id LIMIT {limit:d} OFFSET {offset:d}""",
    )


def search(session: Session, dataset: str, dag_ids: Dags, text: str, *, limit: int) -> tuple[Page, bool]:
    """Return documents whose id or run id is the text, or else whose address or file name begins with it, or
    else has it; and whether all documents were looked at.

    A part of an address is looked for in the :data:`RECENT` documents that have landed last.
    """  # noqa: D205 # one sentence
    found = _found(
        session, dataset, dag_ids, "document.document_id = ? OR document.run_id = ?", [text, text], limit
    )
    if found:
        return found, True
    table = qualified(dataset, "documents")
    documents = f"SELECT {_FOUND}, document.dag_id, document.batch_id FROM {table} AS document"
    recent = f"({documents} ORDER BY document.landed_at DESC LIMIT {RECENT:d})"
    for column in ("uri", "name"):
        is_prefix = (
            f"left(document.{column}, {INDEXED:d}) LIKE ? ESCAPE '!' AND strpos(document.{column}, ?) = 1"
        )
        begins = [re.sub("[!%_]", r"!\g<0>", text[:INDEXED]) + "%", text]
        # Bounded before it is sorted. Postgres would rather walk through all documents, the last one first,
        # until it has a page of them: a second for those that landed long ago.
        some = f"({documents} WHERE {is_prefix} LIMIT {RECENT:d})"
        if found := _found(session, dataset, dag_ids, "true", begins, limit, some):
            if len(found) < limit:
                return found, True
            newest = _found(session, dataset, dag_ids, is_prefix, begins, limit, recent)
            return newest if len(newest) == limit else found, True
    found = _found(session, dataset, dag_ids, "strpos(document.uri, ?) > 0", [text], limit, recent)
    ((more,),) = session.rows(
        "count what has landed",
        f"SELECT coalesce(sum(documents), 0) > {RECENT:d} FROM {qualified(dataset, 'loads')}",
    )
    return found, not more


def _found(
    session: Session,
    dataset: str,
    dag_ids: Dags,
    condition: str,
    parameters: list[Any],
    limit: int,
    documents: str | None = None,
) -> Page:
    return session.rows(
        "search documents",
        f"""SELECT {_FOUND} FROM {documents or qualified(dataset, "documents")} AS document
            WHERE ({condition}) AND {visible(dataset, dag_ids)}
            ORDER BY document.landed_at DESC, document.document_id LIMIT {limit:d}""",
        parameters,
    )


def _day(row: str) -> str:
    """The day, in UTC, on which a run began; without a run, on which the document landed.

    It is the day in the view ``costs``.
    """
    began = f"coalesce({row}.started_at, {row}.created_at, {row}.landed_at)"
    return f"CAST({began} AT TIME ZONE 'UTC' AS DATE)"
