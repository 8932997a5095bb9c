"""Views for people: each is a query over the fixed tables.

The queries use only what all dialects have in common, so that sqlglot can transpile them from DuckDB's
dialect without a change in meaning. Days are days in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from extend_pipeline.documents import RUN_DELETED
from extend_pipeline.warehouse.schema.tables import DOCUMENTS, KEY, WAITING, WAS_SENT
from extend_pipeline.warehouse.sql import literal, names, qualified, quoted

#: The threshold of ``low_confidence_fields`` for documents without a threshold of their own.
DEFAULT_MIN_CONFIDENCE: Final = 0.8

_DEAD_LETTER: Final = (
    *("document_id", "workflow_id", "workflow_version_requested", "uri", "status", "reason", "message"),
    *("attempts", "run_id", "batch_id", "dashboard_url", "credits", "landed_at"),
    *("etag", "size_bytes", "last_modified"),
)
_STATUSES: Final = ("PROCESSED", "NEEDS_REVIEW", "REJECTED", "FAILED", "CANCELLED", "SKIPPED")


def statements(dataset: str) -> dict[str, str]:
    """Return the statement that makes each of :data:`VIEWS` in a dataset."""
    return {
        view: f"CREATE OR REPLACE VIEW {qualified(dataset, view)} AS {query(quoted(dataset))}"
        for view, query in VIEWS.items()
    }


def _latest_documents(dataset: str) -> str:
    """The newest content of each address and workflow, and the newest run of that content."""
    return f"""
        SELECT {names(DOCUMENTS)} FROM (
            SELECT document.*, row_number() OVER (
                PARTITION BY uri, workflow_id
                ORDER BY last_modified DESC NULLS LAST,
                         coalesce(created_at, started_at) DESC NULLS LAST,
                         landed_at DESC, document_id, workflow_version_requested) AS recency
            FROM {dataset}.documents AS document
        ) AS ranked
        WHERE recency = 1
    """


def _low_confidence_fields(dataset: str) -> str:
    """Fields below the threshold that was asked for, with what a reader needs to check them.

    ``page`` is the one of the document as it was sent, not of the file that a field's was split into.
    """
    same = " AND ".join(f"document.{name} = field.{name}" for name in KEY)
    of_field = " AND ".join(f"file.{name} = field.{name}" for name in (*KEY, "run_id", "file_id"))
    threshold = f"coalesce(document.min_confidence, {DEFAULT_MIN_CONFIDENCE})"
    confidence = """CASE WHEN field.ocr_confidence IS NULL
                           OR field.logprobs_confidence < field.ocr_confidence
                         THEN field.logprobs_confidence ELSE field.ocr_confidence END"""
    return f"""
        SELECT {", ".join(f"document.{name}" for name in KEY)}, document.run_id, document.uri,
               document.status, document.approval, field.extractor, field.result_idx, field.path, field.value,
               {confidence} AS confidence, {threshold} AS min_confidence,
               field.ocr_confidence, field.logprobs_confidence, field.review_score,
               field.page + coalesce(file.document_page, file.start_page, 1) - 1 AS page,
               field.reference_text, field.cell_range, document.dashboard_url
        FROM {dataset}.fields AS field JOIN {dataset}.documents AS document ON {same}
        LEFT JOIN {dataset}.files AS file ON {of_field}
        WHERE field.ocr_confidence < {threshold} OR field.logprobs_confidence < {threshold}
    """


def _dead_letters(dataset: str) -> str:
    """Documents that failed and are not sent again automatically; ``resending``: a run sends it again now."""
    same = " AND ".join(f"claim.{name} = document.{name}" for name in KEY)
    return f"""
        SELECT {", ".join(f"document.{name}" for name in _DEAD_LETTER)},
               claim.claimed IS NOT NULL AS resending
        FROM {dataset}.documents AS document
        LEFT JOIN (
            SELECT {names(KEY)}, count(*) AS claimed FROM {dataset}.claims GROUP BY {names(KEY)}
        ) AS claim ON {same}
        WHERE status IN ('FAILED', 'CANCELLED') AND {WAS_SENT}
    """


def _in_review(dataset: str) -> str:
    """What waits for a person, at Extend or in Airflow, since when and for how long."""
    since = "coalesce(updated_at, ended_at, started_at, created_at, landed_at)"
    return f"""
        SELECT {names(KEY)}, run_id, uri, waits_for, waiting_since,
               date_diff('minute', waiting_since, CURRENT_TIMESTAMP) / 60.0 AS waiting_hours,
               low_confidence, lowest_confidence, credits, dashboard_url
        FROM (
            SELECT document.*,
                   CASE WHEN approval = {literal(WAITING)} THEN 'approval in Airflow'
                        ELSE 'review at Extend' END AS waits_for,
                   CASE WHEN approval = {literal(WAITING)} THEN landed_at ELSE {since} END AS waiting_since
            FROM {dataset}.documents AS document
            WHERE approval = {literal(WAITING)}
               OR (status = 'NEEDS_REVIEW' AND coalesce(reason, '') <> {literal(RUN_DELETED)})
        ) AS waiting
    """


def _costs(dataset: str) -> str:
    """Credits of all attempts, superseded ones included."""
    same = " AND ".join(f"document.{name} = run.{name}" for name in KEY)
    return f"""
        SELECT day, workflow_id, workflow_name, workflow_version, source_prefix,
               count(DISTINCT document_id) AS documents, count(*) AS runs, sum(credits) AS credits
        FROM (
            SELECT {_day("run")} AS day, run.workflow_id, run.workflow_name, run.workflow_version,
                   regexp_replace(document.uri, '[^/]*$', '') AS source_prefix,
                   run.document_id, run.credits
            FROM {dataset}.runs AS run LEFT JOIN {dataset}.documents AS document ON {same}
        ) AS attempt
        GROUP BY day, workflow_id, workflow_name, workflow_version, source_prefix
    """


def _daily_throughput(dataset: str) -> str:
    """Documents of each day by status, and how long Extend took."""
    counted = ", ".join(
        f"sum(CASE WHEN status = {literal(status)} THEN 1 ELSE 0 END) AS {status.lower()}"
        for status in _STATUSES
    )
    known = ", ".join(literal(status) for status in _STATUSES)
    return f"""
        SELECT day, workflow_id, count(*) AS documents, {counted},
               sum(CASE WHEN status IN ({known}) THEN 0 ELSE 1 END) AS other,
               sum(attempts) AS attempts, sum(size_bytes) AS size_bytes,
               avg(seconds) AS average_seconds, max(seconds) AS longest_seconds
        FROM (
            SELECT {_day("document")} AS day, document.*,
                   date_diff('second', started_at, ended_at) AS seconds
            FROM {dataset}.documents AS document
        ) AS dated
        GROUP BY day, workflow_id
    """


def _day(row: str) -> str:
    """The day on which a run began; where there is no run, the day of the landing."""
    began = f"coalesce({row}.started_at, {row}.created_at, {row}.landed_at)"
    return f"CAST({began} AT TIME ZONE 'UTC' AS DATE)"


#: By name, the function that makes a view's query. No table can have one of these names.
VIEWS: Final[Mapping[str, Callable[[str], str]]] = {
    "latest_documents": _latest_documents,
    "low_confidence_fields": _low_confidence_fields,
    "dead_letters": _dead_letters,
    "in_review": _in_review,
    "costs": _costs,
    "daily_throughput": _daily_throughput,
}
