"""Landed batches: from when to when Extend was at work on them."""

# Every name in the statements is quoted and every text made a literal by sql.py.
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from extend_pipeline.planning.duration import LandedBatch
from extend_pipeline.warehouse.sql import quoted

if TYPE_CHECKING:
    from extend_pipeline.warehouse.session import Session

#: Enough to see a usual pace, and the latest, because plans and limits at Extend change.
_LATEST: Final = 200


def landed_batches(session: Session, dataset: str, workflow_id: str) -> list[LandedBatch]:
    """Return the latest batches of a workflow, with the runs of them that have come to an end."""
    rows = session.rows(
        "read landed batches",
        f"""SELECT count(*), min(created_at), max(ended_at)
            FROM {quoted(dataset)}.runs
            WHERE workflow_id = ? AND batch_id IS NOT NULL
              AND created_at IS NOT NULL AND ended_at IS NOT NULL
            GROUP BY batch_id ORDER BY max(ended_at) DESC LIMIT {_LATEST}""",
        [workflow_id],
    )
    return [LandedBatch(*row) for row in rows]
