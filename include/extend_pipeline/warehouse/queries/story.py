"""Everything that the fixed tables tell of one document. Nothing is written."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from extend_pipeline.warehouse.queries.seen import visible
from extend_pipeline.warehouse.schema.tables import DOCUMENTS, KEY
from extend_pipeline.warehouse.sql import ColumnType, qualified, quoted

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Page, Session

#: The most fields of a document that are read; a table of thousands of lines is read where it landed.
MOST_FIELDS: Final = 1000
_COLUMNS: Final = ", ".join(
    f"CAST(document.{quoted(name)} AS DOUBLE) AS {quoted(name)}"
    if kind is ColumnType.DECIMAL
    else f"document.{quoted(name)}"
    for name, kind in DOCUMENTS.items()
)


def documents(
    session: Session, dataset: str, dag_ids: Collection[str] | None, document_id: str
) -> list[dict[str, Any]]:
    """Return the document's rows by column: one per workflow and version."""
    rows = session.rows(
        "read document",
        f"""SELECT {_COLUMNS} FROM {qualified(dataset, "documents")} AS document
            WHERE document.document_id = ? AND {visible(dataset, dag_ids)}
            ORDER BY document.landed_at DESC, document.workflow_id, document.workflow_version_requested""",
        [document_id],
    )
    return [dict(zip(DOCUMENTS, row, strict=True)) for row in rows]


def runs(session: Session, dataset: str, document_id: str) -> Page:
    """Return workflow, version and facts of each run that the document has had, the first one first."""
    return session.rows(
        "read runs",
        f"""SELECT workflow_id, workflow_version_requested, run_id, status, reason, message,
                   coalesce(created_at, started_at), coalesce(ended_at, updated_at),
                   CAST(credits AS DOUBLE), dashboard_url, reviewed_at, reviewed_by
            FROM {qualified(dataset, "runs")} WHERE document_id = ?
            ORDER BY coalesce(created_at, started_at), run_id""",
        [document_id],
    )


def fields(session: Session, dataset: str, document_id: str) -> Page:
    """Return workflow, version and each extracted field, with its page in the document as it was sent."""
    of_field = " AND ".join(f"file.{name} = field.{name}" for name in (*KEY, "run_id", "file_id"))
    return session.rows(
        "read fields",
        f"""SELECT field.workflow_id, field.workflow_version_requested, field.extractor, field.path,
                   field.value, field.ocr_confidence, field.logprobs_confidence,
                   field.page + coalesce(file.document_page, file.start_page, 1) - 1, field.cell_range,
                   field.reference_text, field.citations, field.edited, field.machine_value
            FROM {qualified(dataset, "fields")} AS field
            LEFT JOIN {qualified(dataset, "files")} AS file ON {of_field}
            WHERE field.document_id = ?
            ORDER BY field.workflow_id, field.workflow_version_requested, field.extractor, field.result_idx,
                     field.path
            LIMIT {MOST_FIELDS + 1:d}""",
        [document_id],
    )
