"""SQL that decides which run a document has, and whether a newer one has landed.

Every function returns a statement. ``_load`` is one row, which says where the part comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from extend_pipeline.documents import RUN_MISSING
from extend_pipeline.warehouse.files import StagedFile, read_lines
from extend_pipeline.warehouse.records import LandingPolicy, Provenance
from extend_pipeline.warehouse.schema import tables
from extend_pipeline.warehouse.sql import (
    TYPES,
    ColumnType,
    literal,
    names,
    quoted,
    text_columns,
    typed_columns,
)

#: Statuses that a run can stay in.
SETTLED: Final = ("PROCESSED", "NEEDS_REVIEW", "REJECTED", "FAILED", "CANCELLED")
_TIMES: Final = ("created_at", "started_at", "ended_at", "updated_at", "reviewed_at")
_OF_THE_LOAD: Final = {"load_batch_id": ColumnType.TEXT, "hold": ColumnType.BOOLEAN}
#: The columns by which two runs are compared, see :func:`_recency`.
_RECENCY: Final = ("run_id", "status", "created_at", "started_at", "observed_at")
_KNOWN_RUN: Final = (*tables.KEY, *_RECENCY, "landed_at")
_KNOWN_DOCUMENT: Final = (*_KNOWN_RUN, "min_confidence", "approval", "approval_by", "approval_at")
_SUBMITTED: Final = {"document_id": ColumnType.TEXT, **tables.SUBMISSION, **tables.STATUS}
_ATTEMPT: Final = {
    "document_id": ColumnType.TEXT,
    **tables.STATUS,
    **{name: kind for name, kind in tables.RUN.items() if name != "observed_at"},
    "usage": ColumnType.JSON,
    "edits": ColumnType.JSON,
    "decision": ColumnType.TEXT,
    "decided_by": ColumnType.TEXT,
    "decided_at": ColumnType.TIMESTAMP,
}
#: What landing a document's values takes of its run. What else is in its row is joined when that is inserted:
#: temporary tables are in memory as long as the transaction lasts.
_OF_LANDING: Final = ("seq", "repaired", "reviewed", "decision", "decided_by", "decided_at")
#: The status of a document that was sent and has no run in its batch.
_NO_RUN: Final = {
    "status": "FAILED",
    "reason": RUN_MISSING,
    "message": "The document was sent, but its batch has no run of it. It may have been paid for, so it is "
    "sent again by reprocessing only.",
}


def load_row(origin: Provenance, policy: LandingPolicy, started: datetime) -> tuple[str, list[object]]:
    """Return ``_load``, one row with the part's provenance and policy, and its parameters."""
    row: dict[str, object] = {
        "workflow_id": origin.workflow_id,
        "workflow_version_requested": origin.version or "",
        "load_batch_id": origin.batch_id,
        "repetition": origin.repetition,
        "raw_uri": origin.raw_uri,
        "dag_id": origin.dag_id,
        "dag_run_id": origin.run_id,
        "task_id": origin.task_id,
        "map_index": origin.map_index,
        "landed_at": origin.landed_at or started,
        "min_confidence": policy.min_confidence,
        "hold": policy.hold,
    }
    types = {**tables.KEY, **tables.LOAD, **tables.CONFIDENCE, **_OF_THE_LOAD}
    columns = ", ".join(f"?::{TYPES[types[name]]} AS {name}" for name in row)
    return f"SELECT {columns}", list(row.values())


class SeqRange(NamedTuple):
    """A range of a part's runs by their numbers: from ``first`` to before ``end``; None is the part's end."""

    first: int
    end: int | None

    @property
    def is_all(self) -> bool:
        """Whether these are all runs of the part."""
        return self.first == 0 and self.end is None

    @property
    def condition(self) -> str:
        """The SQL condition of these runs."""
        return f"seq >= {self.first}" + ("" if self.end is None else f" AND seq < {self.end}")


ALL: Final = SeqRange(0, None)


def submitted_rows(submission: StagedFile, runs: StagedFile, these: SeqRange = ALL) -> str:
    """Return ``_submitted``: a row per document; if it occurs twice, the row that was to be sent.

    :param these: only documents of these runs; a document without any is with the last ones.
    """
    source = read_lines(submission, {"ordinal": "BIGINT", **text_columns(_SUBMITTED)})
    run = f"SELECT document_id FROM {read_lines(runs, {'seq': 'BIGINT', 'document_id': 'VARCHAR'})}"
    among = f"document_id IN ({run} WHERE {these.condition})"
    if these.end is None:
        among += f" OR document_id NOT IN ({run} WHERE document_id IS NOT NULL)"
    return f"""
        SELECT {typed_columns("staged", _SUBMITTED)} FROM {source} AS staged
        WHERE {"true" if these.is_all else among}
        QUALIFY row_number() OVER (
            PARTITION BY document_id ORDER BY staged.status IS NULL DESC, ordinal DESC) = 1
    """


def attempt_rows(runs: StagedFile, these: SeqRange = ALL) -> str:
    """Return ``_attempts``: a row per run of the part, or of these, its newest snapshot."""
    source = read_lines(runs, {"seq": "BIGINT", "repaired": "BOOLEAN", **text_columns(_ATTEMPT)})
    return f"""
        SELECT * FROM (
            SELECT *, greatest({", ".join(_TIMES)}) AS observed_at
            FROM (
                SELECT seq, repaired, {typed_columns("staged", _ATTEMPT)} FROM {source} AS staged
                WHERE {these.condition}
            )
        ) AS run
        QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY {_recency("run")} DESC, seq DESC) = 1
    """


def known_documents(documents: str) -> str:
    """Return ``_known``: the part's documents as they have landed before."""
    return f"""
        SELECT {names(_KNOWN_DOCUMENT)}
        FROM {documents} SEMI JOIN (FROM _submitted CROSS JOIN _load) USING ({names(tables.KEY)})
    """


def known_runs(runs: str) -> str:
    """Return ``_known_runs``: the part's runs, and other runs of its documents, that have landed before."""
    columns = names(_KNOWN_RUN)
    return f"""
        SELECT {columns} FROM {runs} SEMI JOIN _attempts USING (run_id)
        UNION
        SELECT {columns} FROM {runs} SEMI JOIN (FROM _submitted CROSS JOIN _load) USING ({names(tables.KEY)})
    """


def landing_rows() -> str:
    """Return the submitted documents that land, each with its newest run, or without one."""
    of_run = ", ".join(f"run.{name}" for name in (*_RECENCY, *_OF_LANDING))
    newest = f"""(
        SELECT document_id, load.workflow_id, load.workflow_version_requested, load.landed_at, {of_run}
        FROM _submitted CROSS JOIN _load AS load
        LEFT JOIN (
            SELECT run.document_id, {of_run} FROM _attempts AS run
            QUALIFY row_number() OVER (PARTITION BY document_id ORDER BY {_recency("run")} DESC) = 1
        ) AS run USING (document_id)
    )"""
    return _not_older((*tables.KEY, "run_id", *_OF_LANDING, "landed_at"), newest, "_known", list(tables.KEY))


def run_rows() -> str:
    """Return ``_runs``: the runs that land, by their ``run_id``."""
    incoming = f"(SELECT document_id, {', '.join(_RECENCY)}, landed_at FROM _attempts CROSS JOIN _load)"
    return _not_older(("document_id", "run_id"), incoming, "_known_runs", ["run_id"])


def counted_runs() -> str:
    """Return ``_counted``: how many runs the part's documents have had, once ``_runs`` have landed."""
    return f"""
        SELECT {names(tables.KEY)}, count(run_id) AS attempts
        FROM (
            SELECT {names(tables.KEY)}, run_id FROM _known_runs ANTI JOIN _runs USING (run_id)
            UNION ALL SELECT {names(tables.KEY)}, run_id FROM _runs CROSS JOIN _load
        )
        GROUP BY ALL
    """


def document_rows() -> str:
    """Return the rows of ``documents`` that land: each with its run, or with why it has none."""
    key = names(tables.KEY)
    outcome = ", ".join(
        f"""CASE WHEN run.run_id IS NOT NULL THEN run.{name}
                 WHEN document.status IS NULL THEN {literal(text)} ELSE document.{name} END AS {name}"""
        for name, text in _NO_RUN.items()
    )
    of_run = ", ".join(f"run.{name}" for name in tables.RUN if name != "batch_id")
    return f"""
        SELECT {names(tables.DOCUMENTS)} FROM (
            SELECT assessed.*, {", ".join(f"document.{quoted(name)}" for name in tables.SUBMISSION)},
                   {outcome}, {of_run}, {", ".join(f"load.{name}" for name in tables.LOAD)},
                   coalesce(counted.attempts, 0) AS attempts,
                   CASE WHEN run.run_id IS NOT NULL THEN coalesce(run.batch_id, load.load_batch_id)
                        WHEN document.status IS NULL THEN load.load_batch_id END AS batch_id
            FROM (SELECT * EXCLUDE (run_id), run_id AS newest FROM _assessed) AS assessed
            JOIN _submitted AS document USING (document_id)
            LEFT JOIN _attempts AS run ON run.run_id = assessed.newest
            LEFT JOIN _counted AS counted USING ({key})
            CROSS JOIN _load AS load
        )
    """


def counted_attempts(documents: str) -> str:
    """Return the statement that recounts the runs of documents for which the part has nothing newer."""
    same = " AND ".join(f"document.{name} = counted.{name}" for name in tables.KEY)
    return f"""
        UPDATE {documents} AS document SET attempts = counted.attempts
        FROM (FROM _counted SEMI JOIN _known USING ({names(tables.KEY)})) AS counted WHERE {same}
    """


def _not_older(columns: Iterable[str], incoming: str, landed: str, key: Sequence[str]) -> str:
    """Return columns of the incoming rows, without the rows whose landed one is newer."""
    same = " AND ".join(f"landed.{name} = incoming.{name}" for name in key)
    return f"""
        SELECT {", ".join(f"incoming.{name}" for name in columns)}
        FROM {incoming} AS incoming LEFT JOIN {landed} AS landed ON {same}
        WHERE landed.{key[0]} IS NULL
           OR {_recency("incoming")} > {_recency("landed")}
           OR {_recency("incoming")} = {_recency("landed")}
              AND (incoming.run_id IS NOT NULL OR incoming.landed_at >= landed.landed_at)
    """


def _recency(row: str) -> str:
    """Return what orders two rows of one document, or two snapshots of one run; the greater one stays.

    A run before none; a settled run before one under way; the run begun last; its newest snapshot, and a
    review that has ended before one that has not. Rows without a run are equal; of them the last load stays.
    Nothing depends on the order of the loads.
    """
    settled = ", ".join(literal(status) for status in SETTLED)
    return f"""row({row}.run_id IS NOT NULL,
                   {row}.run_id IS NOT NULL AND {row}.status IN ({settled}),
                   coalesce(least({row}.created_at, {row}.started_at), TIMESTAMPTZ 'epoch'),
                   coalesce({row}.run_id, ''),
                   coalesce({row}.observed_at, TIMESTAMPTZ 'epoch'),
                   {row}.run_id IS NOT NULL AND {row}.status <> 'NEEDS_REVIEW')"""
