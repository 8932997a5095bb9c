"""SQL about the confidence of a document, and whether its rows may enter the generated tables.

Every function returns a statement. A decision about a run is kept: when the same run lands again, it is read
from ``documents``. A new run of the document needs a new decision. A run that was reviewed at Extend needs no
approval. A field without any confidence does not count as low.
"""

from __future__ import annotations

from typing import Final

from extend_pipeline.warehouse.schema import tables
from extend_pipeline.warehouse.sql import TYPES, ColumnType, literal, names

_KEY: Final = names(tables.KEY)


def with_standing(landing: str) -> str:
    """Return the documents that land with the threshold and the decision that apply to their runs."""
    same = " AND ".join(f"landed.{name} = landing.{name}" for name in (*tables.KEY, "run_id"))
    newer = """landing.decision IS NOT NULL
               AND (landed.approval_at IS NULL OR landing.decided_at >= landed.approval_at)"""
    return f"""
        SELECT landing.* EXCLUDE (decision, decided_by, decided_at),
               coalesce(load.min_confidence, landed.min_confidence) AS min_confidence,
               CASE WHEN {newer} THEN landing.decision ELSE landed.approval END AS approval,
               CASE WHEN {newer} THEN landing.decided_by ELSE landed.approval_by END AS approval_by,
               CASE WHEN {newer} THEN landing.decided_at ELSE landed.approval_at END AS approval_at
        FROM ({landing}) AS landing CROSS JOIN _load AS load LEFT JOIN _known AS landed ON {same}
    """


def no_confidences() -> str:
    """Return ``_confidences`` without a row; :func:`page_confidences` adds rows with each page."""
    columns = {**tables.KEY, "lowest": ColumnType.DOUBLE, "low": ColumnType.INTEGER}
    row = ", ".join(f"NULL::{TYPES[kind]} AS {name}" for name, kind in columns.items())
    return f"SELECT {row} WHERE false"


def page_confidences() -> str:
    """Return the lowest confidence of each document of the page, and how many fields are too low."""
    return f"""
        SELECT {_KEY}, min(confidence), count(*) FILTER (confidence < min_confidence)
        FROM (
            SELECT {_KEY}, least(ocr_confidence, logprobs_confidence) AS confidence, min_confidence
            FROM _evidence JOIN _page USING (result_no)
        )
        GROUP BY {_KEY}
    """


def assessed_rows() -> str:
    """Return ``_assessed``: the documents that land, with their confidence and approval."""
    return f"""
        SELECT {_KEY}, run_id, found.lowest AS lowest_confidence, landing.min_confidence,
               CASE WHEN landing.min_confidence IS NOT NULL AND run_id IS NOT NULL
                    THEN coalesce(found.low, 0) END AS low_confidence,
               CASE WHEN reviewed THEN NULL
                    WHEN landing.approval IS NOT NULL THEN landing.approval
                    WHEN hold AND found.low > 0 THEN {literal(tables.WAITING)} END AS approval,
               CASE WHEN NOT reviewed THEN landing.approval_by END AS approval_by,
               CASE WHEN NOT reviewed THEN landing.approval_at END AS approval_at
        FROM _landing AS landing
        LEFT JOIN (
            SELECT {_KEY}, min(lowest) AS lowest, sum(low)::BIGINT AS low FROM _confidences GROUP BY ALL
        ) AS found USING ({_KEY})
        CROSS JOIN (SELECT hold FROM _load)
    """


def held_back_rows() -> str:
    """Return ``_held_back``: the keys of the documents whose rows are held back."""
    held = f"{literal(tables.WAITING)}, {literal(tables.REJECTED)}"
    return f"SELECT {_KEY} FROM _assessed WHERE approval IN ({held})"
