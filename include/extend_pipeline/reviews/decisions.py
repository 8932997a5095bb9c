"""Reviews: the state of a run that waited for a reviewer at Extend."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from extend_pipeline.settings import ConnId, Dataset, RenderedSettings, Workspace
from extend_pipeline.settings.machines import Disk
from extend_pipeline.warehouse.records import LandedRun
from extend_provider.batch.waiting.progress import SETTLED_STATUSES
from extend_provider.client.models import RunStatus, WorkflowRun

#: Message in the row of a document whose run does not exist at Extend any more.
DELETED_MESSAGE: Final = (
    "Extend does not have this run any more: it was deleted before its review had ended, or the connection "
    "{conn_id!r} belongs to another workspace now. What had landed of it stays. It is not asked for again, "
    "unless the reviews are told to ask for deleted runs too."
)


class ReviewSettings(RenderedSettings):
    """Settings of one look at the runs in review; see ``reviews_to_warehouse``."""

    workspace: Workspace
    disk: Disk = "by_executor"
    include_deleted: bool = False
    dataset: Dataset = "extend"
    extend_conn_id: ConnId = "extend_default"
    warehouse_conn_id: ConnId = "warehouse_default"


class ReviewState(StrEnum):
    """State of a run that landed in review, as another look at Extend shows it."""

    DECIDED = "decided"
    #: It is in review again with other results: somebody has sent it back.
    CHANGED = "changed, in review again"
    WAITING = "still in review"
    UNDER_WAY = "sent back, at work again"
    DELETED = "deleted at Extend"
    UNANSWERED = "not shown by Extend"


#: States that bring something to land.
NEWS: Final = (ReviewState.DECIDED, ReviewState.CHANGED)


def review_state(known: LandedRun, run: WorkflowRun) -> ReviewState:
    """Return the state of a run that had landed in review.

    A reviewer who changes a document's class sends its run back: it is PROCESSING again, and the steps after
    the classification run anew. Until it settles, what has landed stays as it is.
    """
    if run.status == RunStatus.NEEDS_REVIEW:
        return ReviewState.WAITING if step_marks(run) == known.steps else ReviewState.CHANGED
    return ReviewState.DECIDED if run.status in SETTLED_STATUSES else ReviewState.UNDER_WAY


def step_marks(run: WorkflowRun) -> tuple[str, ...]:
    """Return the ids of the runs of a run's steps, as :attr:`LandedRun.steps` has them."""
    return tuple((step.result and step.result.id) or step.id or "" for step in run.steps)
