"""Runs that have landed and that somebody has still to decide about: at Extend, or here."""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from extend_pipeline.documents import RUN_DELETED, Document
from extend_pipeline.warehouse.claims import has_table
from extend_pipeline.warehouse.confidence import WAITING
from extend_pipeline.warehouse.records import LandedRun
from extend_pipeline.warehouse.sql import literal, names, quoted, read_lines
from extend_pipeline.warehouse.staging import StagedFile
from extend_pipeline.warehouse.tables import KEY

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

_IN_REVIEW: Final = "document.status = 'NEEDS_REVIEW' AND document.run_id IS NOT NULL"


def runs_in_review(
    session: Session, dataset: str, extend_conn_id: str, *, include_deleted: bool
) -> Iterator[LandedRun]:
    """Yield the runs that wait for a reviewer at Extend and were submitted through this connection."""
    deleted = "" if include_deleted else f"AND document.reason IS DISTINCT FROM {literal(RUN_DELETED)}"
    condition = f"{_IN_REVIEW} AND coalesce(load.extend_conn_id, ?) = ? {deleted}"
    yield from _landed_runs(session, dataset, condition, [extend_conn_id, extend_conn_id])


def held_runs(
    session: Session, dataset: str, *, dag_id: str, run_id: str, group_id: str
) -> Iterator[LandedRun]:
    """Yield the runs that a task group has landed and that wait for an approval."""
    condition = f"""document.approval = {literal(WAITING)} AND document.dag_id = ?
                    AND document.dag_run_id = ? AND starts_with(document.task_id, ?)"""
    yield from _landed_runs(session, dataset, condition, [dag_id, run_id, f"{group_id}."])


def _landed_runs(
    session: Session, dataset: str, condition: str, parameters: Sequence[object]
) -> Iterator[LandedRun]:
    """Yield runs in the order of their batches."""
    if not has_table(session, dataset, "documents"):
        return
    key = names(KEY)
    pages = session.pages(
        "find runs to be decided",
        f"""WITH chosen AS (
                SELECT document.* FROM {quoted(dataset)}.documents AS document
                LEFT JOIN {quoted(dataset)}.loads AS load ON load.part = document.raw_uri
                WHERE {condition}
            )
            SELECT uri, etag, size_bytes, strftime(last_modified, '%Y-%m-%dT%H:%M:%S.%f') || '+00:00',
                   chosen.run_id, batch_id, workflow_id, nullif(workflow_version_requested, ''), repetition,
                   raw_uri, dashboard_url, low_confidence, lowest_confidence, coalesce(steps, [])
            FROM chosen
            LEFT JOIN (
                SELECT {key}, run_id,
                       list(coalesce(processor_run_id, step_run_id, '') ORDER BY step_idx) AS steps
                FROM {quoted(dataset)}.steps SEMI JOIN chosen USING ({key}, run_id)
                GROUP BY ALL
            ) USING ({key}, run_id)
            ORDER BY workflow_id, workflow_version_requested, batch_id, repetition, raw_uri, chosen.run_id""",
        parameters,
    )
    for page in pages:
        for uri, etag, size_bytes, last_modified, *facts in page:
            document = Document(uri=uri, etag=etag, size_bytes=size_bytes, last_modified=last_modified)
            facts[-1] = tuple(facts[-1])
            yield LandedRun(document, *facts)


def note_deleted_runs(session: Session, dataset: str, runs: StagedFile, message: str) -> int:
    """Say on the rows of documents in review that their runs are gone; return how many rows that are."""
    source = read_lines(runs, {"run_id": "VARCHAR"})
    with session.transaction():
        ((count,),) = session.rows(
            "note deleted runs",
            f"""UPDATE {quoted(dataset)}.documents AS document
                SET reason = {literal(RUN_DELETED)}, message = {literal(message)}
                WHERE {_IN_REVIEW} AND document.run_id IN (SELECT run_id FROM {source})""",
        )
    return int(count)
