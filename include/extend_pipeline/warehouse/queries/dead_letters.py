"""Dead letters: documents that were sent, failed or were cancelled, and are not sent again automatically."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import TYPE_CHECKING

from extend_pipeline.documents import Document
from extend_pipeline.warehouse.records import DeadLetter
from extend_pipeline.warehouse.sql import quoted

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session


def dead_letters(
    session: Session, dataset: str, workflow_id: str | None, version: str | None
) -> Iterator[DeadLetter]:
    """Yield the dead letters, those of one workflow and version if a workflow is named, by address."""
    conditions = "workflow_id = ? AND workflow_version_requested = ?" if workflow_id else "true"
    pages = session.pages(
        "read dead letters",
        f"""SELECT uri, etag, size_bytes, last_modified, workflow_id, workflow_version_requested,
                   status, reason, message, attempts, dashboard_url, landed_at, resending
            FROM {quoted(dataset)}.dead_letters WHERE {conditions}
            ORDER BY workflow_id, workflow_version_requested, uri, document_id""",
        [workflow_id, version or ""] if workflow_id else [],
    )
    for page in pages:
        for uri, etag, size_bytes, modified, workflow, requested, *rest in page:
            last_modified = modified.astimezone(UTC).isoformat() if modified else ""
            document = Document(uri, etag, size_bytes, last_modified)
            yield DeadLetter(document, workflow, requested or None, *rest)
