"""Landed runs that still need a decision: a review at Extend, or an approval in Airflow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Final

from extend_pipeline.documents import RUN_DELETED, Document
from extend_pipeline.warehouse.records import LandedRun
from extend_pipeline.warehouse.schema.tables import KEY, WAITING
from extend_pipeline.warehouse.sql import Columns, ColumnType, literal, quoted

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

#: What the relation of deleted runs has to have.
DELETED: Final[Columns] = {"run_id": ColumnType.TEXT}
#: Where the columns of a step begin in a row of a landed run.
_STEP_IDX: Final = 13
_IN_REVIEW: Final = "document.status = 'NEEDS_REVIEW' AND document.run_id IS NOT NULL"


def runs_in_review(
    session: Session, dataset: str, extend_conn_id: str, *, include_deleted: bool
) -> Iterator[LandedRun]:
    """Yield the runs that wait for a reviewer at Extend and were submitted through this connection."""
    deleted = "" if include_deleted else f"AND coalesce(document.reason, '') <> {literal(RUN_DELETED)}"
    condition = f"{_IN_REVIEW} AND coalesce(load.extend_conn_id, ?) = ? {deleted}"
    yield from _landed_runs(session, dataset, condition, [extend_conn_id, extend_conn_id])


def held_runs(
    session: Session, dataset: str, *, dag_id: str, run_id: str, group_id: str
) -> Iterator[LandedRun]:
    """Yield the runs that a task group has landed and that wait for an approval."""
    condition = f"""document.approval = {literal(WAITING)} AND document.dag_id = ?
                    AND document.dag_run_id = ? AND left(document.task_id, length(?)) = ?"""
    yield from _landed_runs(session, dataset, condition, [dag_id, run_id, f"{group_id}.", f"{group_id}."])


def _landed_runs(
    session: Session, dataset: str, condition: str, parameters: Sequence[object]
) -> Iterator[LandedRun]:
    """Yield runs in the order of their batches."""
    same = " AND ".join(f"step.{name} = chosen.{name}" for name in (*KEY, "run_id"))
    pages = session.pages(
        "find runs to be decided",
        f"""WITH chosen AS (
                SELECT document.* FROM {quoted(dataset)}.documents AS document
                LEFT JOIN {quoted(dataset)}.loads AS load ON load.part = document.raw_uri
                WHERE {condition}
            )
            SELECT chosen.uri, chosen.etag, chosen.size_bytes, chosen.last_modified,
                   chosen.run_id, chosen.batch_id, chosen.workflow_id, chosen.workflow_version_requested,
                   chosen.repetition, chosen.raw_uri, chosen.dashboard_url, chosen.low_confidence,
                   chosen.lowest_confidence, step.step_idx, step.processor_run_id, step.step_run_id
            FROM chosen LEFT JOIN {quoted(dataset)}.steps AS step ON {same}
            ORDER BY chosen.workflow_id, chosen.workflow_version_requested, chosen.batch_id,
                     chosen.repetition, chosen.raw_uri, chosen.run_id, chosen.document_id, step.step_idx""",
        parameters,
    )
    rows = (row for page in pages for row in page)
    for run, steps in itertools.groupby(rows, key=lambda row: row[:_STEP_IDX]):
        uri, etag, size_bytes, modified, run_id, batch_id, workflow_id, version, *facts = run
        repetition, raw_uri, dashboard_url, low_confidence, lowest_confidence = facts
        last_modified = modified.astimezone(UTC).isoformat(timespec="microseconds") if modified else ""
        document = Document(uri=uri, etag=etag, size_bytes=size_bytes, last_modified=last_modified)
        marks = tuple(
            processor_run_id or step_run_id or ""
            for *_, step_idx, processor_run_id, step_run_id in steps
            if step_idx is not None
        )
        yield LandedRun(
            document=document,
            run_id=run_id,
            batch_id=batch_id,
            workflow_id=workflow_id,
            version=version or None,
            repetition=repetition,
            raw_uri=raw_uri,
            dashboard_url=dashboard_url,
            low_confidence=low_confidence,
            lowest_confidence=lowest_confidence,
            steps=marks,
        )


def note_deleted_runs(session: Session, dataset: str, runs: str, message: str) -> int:
    """Note on the rows of documents in review that their runs are gone; return the number of rows.

    :param runs: the relation of them, see :data:`DELETED`.
    """
    ((count,),) = session.rows(
        "note deleted runs",
        f"""UPDATE {quoted(dataset)}.documents AS document
            SET reason = {literal(RUN_DELETED)}, message = {literal(message)}
            WHERE {_IN_REVIEW} AND document.run_id IN (SELECT run_id FROM {runs})""",
    )
    return int(count)
