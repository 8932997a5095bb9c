"""What a run leaves in Airflow about its pipeline, for the page in Airflow's UI: two small XComs.

The API server has no rendered templates, and may have neither the warehouse's connection nor its driver. It
always has Airflow's database, so ``plan`` says there where the pipeline's documents land, and ``finish`` what
has landed. Their size does not depend on the number of documents, and they hold no secret.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from extend_pipeline.settings import Settings
from extend_pipeline.storage.formats import Stored, to_plain

#: The XCom of ``plan``.
PIPELINE_KEY: Final = "pipeline"
#: The XCom of ``finish``, also if the outcome fails the run.
LANDED_KEY: Final = "landed"


class PipelineRecord(Stored, frozen=True, kw_only=True):
    """Where a run's documents land, and within which bounds.

    :ivar kind: the type of the warehouse's connection.
    :ivar approves: whether documents may wait for an approval in Airflow.
    :ivar planned_at: when planning began, ISO 8601 in UTC.
    """

    warehouse_conn_id: str
    dataset: str
    kind: str | None = None
    workflow_id: str = ""
    version: str | None = None
    limit: int | None = None
    max_documents: int | None = None
    max_credits: float | None = None
    approves: bool = False
    planned_at: str | None = None


class LandedRecord(Stored, frozen=True, kw_only=True):
    """What a run has landed, and when that was counted."""

    at: str
    by_status: dict[str, int] = msgspec.field(default_factory=dict)
    credits: float = 0.0


def now() -> str:
    """Return the time, ISO 8601 in UTC."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def pipeline_record(settings: Settings, kind: str | None, planned_at: str) -> dict[str, Any]:
    """Return what ``plan`` leaves."""
    return to_plain(
        PipelineRecord(
            warehouse_conn_id=settings.warehouse_conn_id,
            dataset=settings.dataset,
            kind=kind,
            workflow_id=settings.workflow_id,
            version=settings.version,
            limit=settings.limit,
            max_documents=settings.max_documents,
            max_credits=settings.max_credits,
            approves=settings.on_low_confidence == "hold",
            planned_at=planned_at,
        )
    )


def landed_record(by_status: Mapping[str, int], credits: float) -> dict[str, Any]:
    """Return what ``finish`` leaves."""
    return to_plain(LandedRecord(at=now(), by_status=dict(by_status), credits=credits))
