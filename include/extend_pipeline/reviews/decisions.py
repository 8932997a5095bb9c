"""Reviews: what has become of a run that waited for a reviewer at Extend."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from extend_pipeline.settings import ConnId, Dataset, RenderedSettings, Workspace
from extend_pipeline.warehouse.records import LandedRun
from extend_pipeline.warehouse.transform.resolve_runs import SETTLED
from extend_provider.client.models import RunStatus, WorkflowRun

#: What the row of a document says whose run Extend does not have any more.
DELETED_MESSAGE: Final = (
    "Extend does not have this run any more: it was deleted before its review had ended, or the connection "
    "{conn_id!r} belongs to another workspace now. What had landed of it stays. It is not asked for again, "
    "unless the reviews are told to ask for deleted runs too."
)


class ReviewSettings(RenderedSettings):
    """What one look at the runs in review is to do; see ``reviews_to_warehouse``."""

    workspace: Workspace
    include_deleted: bool = False
    dataset: Dataset = "extend"
    extend_conn_id: ConnId = "extend_default"
    warehouse_conn_id: ConnId = "warehouse_default"


class Verdict(StrEnum):
    """What a look at a run in review has shown."""

    DECIDED = "decided"
    #: It waits for a reviewer again, with other results: somebody has sent it back.
    CHANGED = "changed, in review again"
    WAITING = "still in review"
    UNDER_WAY = "sent back, at work again"
    DELETED = "deleted at Extend"
    UNANSWERED = "not shown by Extend"


#: Verdicts that bring something to land.
NEWS: Final = (Verdict.DECIDED, Verdict.CHANGED)


def verdict(known: LandedRun, run: WorkflowRun) -> Verdict:
    """Return what has become of a run that had landed in review.

    A reviewer who gives a document another class sends its run back: it is PROCESSING again, with the steps
    after the classification made anew. Until it settles, what has landed stays as it is.
    """
    if run.status == RunStatus.NEEDS_REVIEW:
        return Verdict.WAITING if step_marks(run) == known.steps else Verdict.CHANGED
    return Verdict.DECIDED if run.status in SETTLED else Verdict.UNDER_WAY


def step_marks(run: WorkflowRun) -> tuple[str, ...]:
    """Return what names the runs of a run's steps, as :attr:`LandedRun.steps` has them."""
    return tuple((step.result and step.result.id) or step.id or "" for step in run.steps)
