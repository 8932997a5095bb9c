"""Finding the batch of a submission whose answer never arrived.

Extend has no idempotency key and answers a batch submission with its id alone. What can be had afterwards is
the list of the workflow's runs, newest first, and the metadata that each run carries; so whoever submits puts
a mark of his own into every input's metadata, and looks for it here.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from extend_provider.batch_progress import RunCounter
from extend_provider.models import RunStatus

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendHook

_CANCELLED = {RunStatus.CANCELLED, RunStatus.CANCELLING}
#: How far Extend's clock may be behind ours.
CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclasses.dataclass(frozen=True, slots=True)
class FoundBatch:
    """A batch that carries our mark, and the metadata of the one run of it that was fetched."""

    batch_id: str
    metadata: Mapping[str, Any]


def find_batch(
    hook: ExtendHook,
    workflow_id: str,
    *,
    not_before: dt.datetime,
    is_ours: Callable[[Mapping[str, Any]], bool],
) -> FoundBatch | None:
    """Return the batch that carries our mark, or None if none is listed.

    One run of each batch that was created since ``not_before`` is fetched, because the list does not show
    metadata: the cost is one request per 1,000 runs listed and one per batch. Runs may be listable only some
    time after the submission, so None shortly after it proves nothing.

    :param not_before: when the submission was about to be made, timezone-aware.
    :param is_ours: whether a run's metadata carries the mark.
    """
    seen: set[str] = set()
    for page in hook.iter_run_pages(workflow_id=workflow_id, sort_by="createdAt", sort_dir="desc"):
        for run in page:
            if run.created_at is not None and _moment(run.created_at) < not_before - CLOCK_SKEW:
                return None
            if run.batch_id is None or run.batch_id in seen:
                continue
            seen.add(run.batch_id)
            metadata = hook.get_run(run.id).metadata
            if is_ours(metadata):
                return FoundBatch(run.batch_id, metadata)
    return None


def was_cancelled(hook: ExtendHook, batch_id: str, run_count: int) -> bool:
    """Whether each of a batch's runs was cancelled, so that nothing ever comes of it."""
    counter = RunCounter(run_count)
    for page in hook.iter_run_pages(batch_id=batch_id):
        counter.add(page)
    progress = counter.progress()
    return progress.listed >= run_count and set(progress.by_status) <= _CANCELLED


def _moment(timestamp: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(timestamp)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
