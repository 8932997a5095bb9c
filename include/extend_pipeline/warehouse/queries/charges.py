"""Charges: what Extend has charged for the documents that have landed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extend_pipeline.warehouse.records import Charge
from extend_pipeline.warehouse.sql import quoted

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session


def charges(session: Session, dataset: str, workflow_id: str, version: str | None) -> list[Charge]:
    """Return the charges of a workflow by file type, those of the requested version apart from all others.

    A failed document counts with what it cost; a document without a known charge does not count.
    """
    rows = session.rows(
        "add up charges",
        f"""SELECT file_type, same_version, count(*), CAST(sum(credits) AS DOUBLE)
            FROM (
                SELECT CASE WHEN strpos(reverse(name), '.') BETWEEN 1 AND length(name) - 1
                            THEN lower(right(name, strpos(reverse(name), '.') - 1))
                            ELSE '' END AS file_type,
                       workflow_version_requested = ? AS same_version, credits
                FROM {quoted(dataset)}.documents WHERE workflow_id = ? AND credits IS NOT NULL
            ) AS charged
            GROUP BY file_type, same_version""",
        [version or "", workflow_id],
    )
    return [Charge(*row) for row in rows]
