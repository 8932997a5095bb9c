"""Collect: a batch's settled runs, exactly as Extend answers them, into the raw zone.

What is in the raw zone can be landed again at any time without asking Extend, so it comes before any table.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from extend_pipeline.attempts import RunEnd
from extend_pipeline.documents import Document
from extend_pipeline.raw_zone import PartWriter, RawPart, find_part, run_line
from extend_provider.batch_progress import SETTLED
from extend_provider.exceptions import ExtendError, ExtendNotFoundError
from extend_provider.models import RunStatus, WorkflowRun

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook

log = logging.getLogger(__name__)

#: Runs fetched at the same time; the connection's rate limit holds besides.
PARALLEL = 8
#: Statuses of runs that did not end well, of which the list does not tell why.
_UNSUCCESSFUL = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})


def collect(
    hook: ExtendAsyncHook,
    batch_id: str,
    documents: Iterable[Document],
    destination: ObjectStoragePath,
    *,
    expected: int,
) -> RawPart:
    """Write every run of a batch into the raw zone, and the documents that it accounts for.

    A run that is listed and not there any more is left out. What was collected before stays if Extend has
    fewer runs by now: it does not keep them for ever, and the raw zone does.

    :param documents: of the batch, those that were not sent with their status.
    :param expected: how many runs the batch has, those without that are known to be gone.
    :raises ExtendError: if fewer are listed, or one is at work; nothing was written then.
    """
    run_ids = asyncio.run(_list(hook, batch_id))
    kept = find_part(destination, batch_id)
    if kept is not None and kept.runs > len(run_ids):
        log.warning(
            "Extend lists %s runs of batch %s by now. The %s that were collected before stay as they are.",
            f"{len(run_ids):,}",
            batch_id,
            f"{kept.runs:,}",
        )
        return kept
    if len(run_ids) < expected:
        raise ExtendError(
            f"Extend lists {len(run_ids):,} of the {expected:,} runs of batch {batch_id}, so nothing of the "
            "batch was collected. A retry collects it once all are listed. If the others were deleted at "
            "Extend, clear the wait task of this chunk: after missing_after it counts them as gone, and "
            "their documents land as RUN_MISSING.",
            retryable=True,
        )
    with PartWriter(destination, batch_id) as part:
        for document in documents:
            part.add_document(document)
        asyncio.run(
            _fetch_settled(
                hook, batch_id, run_ids, lambda run: part.add_run(run_line(hook.api_version, run.received))
            )
        )
    return part.part


async def _list(hook: ExtendAsyncHook, batch_id: str) -> set[str]:
    async with hook:
        return {run.id async for page in hook.iter_run_pages(batch_id=batch_id) for run in page}


async def _fetch_settled(
    hook: ExtendAsyncHook, batch_id: str, run_ids: Iterable[str], take: Callable[[WorkflowRun], object]
) -> None:
    def take_settled(run: WorkflowRun) -> None:
        if run.status not in SETTLED:
            raise ExtendError(
                f"Run {run.id} of batch {batch_id} is {run.status}, so nothing of the batch was collected: "
                "its wait task was marked as success before it was through. A retry collects the batch once "
                "it has settled; to wait for that, clear the wait task.",
                retryable=True,
            )
        take(run)

    async with hook:
        await _fetch(hook, run_ids, take_settled)


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """What Extend tells of a batch's runs.

    :ivar listed: how many are listed.
    :ivar gone: how many of these are not there, although they are listed.
    :ivar unsettled: how many are still at work.
    :ivar ends: how those ended that did not end well; every one if ``whole``.
    """

    listed: int
    gone: int
    unsettled: int
    ends: list[RunEnd]
    whole: bool

    @property
    def failed(self) -> int:
        """How many did not end well."""
        return sum(end.status in _UNSUCCESSFUL for end in self.ends)


def inspect(hook: ExtendAsyncHook, batch_id: str, expected: int) -> Inspection:
    """List a batch and look up why runs did not end well: one request each, and one per 1,000 listed.

    If other runs are there than were submitted, every run is looked up: the list does not tell which document
    a run is for.
    """
    return asyncio.run(_inspect(hook, batch_id, expected))


async def _inspect(hook: ExtendAsyncHook, batch_id: str, expected: int) -> Inspection:
    statuses: dict[str, str] = {}
    ends: list[RunEnd] = []

    def take(run: WorkflowRun) -> None:
        statuses[run.id] = run.status
        document_id = run.metadata.get("document_id")
        known = document_id if isinstance(document_id, str) else None
        ends.append(RunEnd(known, run.status, run.failure_reason, run.started_at or run.ended_at))

    async with hook:
        async for page in hook.iter_run_pages(batch_id=batch_id):
            statuses.update((run.id, run.status) for run in page)
        others = {run_id for run_id, status in statuses.items() if status not in _UNSUCCESSFUL}
        gone = await _fetch(hook, statuses.keys() - others, take)
        whole = len(statuses) != expected or bool(gone)
        if whole:
            gone |= await _fetch(hook, others, take)
    unsettled = sum(statuses[run_id] not in SETTLED for run_id in statuses.keys() - gone)
    return Inspection(len(statuses), len(gone), unsettled, ends, whole)


async def _fetch(
    hook: ExtendAsyncHook, run_ids: Iterable[str], take: Callable[[WorkflowRun], object]
) -> set[str]:
    """Fetch runs, a few at a time; return the ids of those that are not there any more."""
    slots = asyncio.Semaphore(PARALLEL)
    gone: set[str] = set()

    async def fetch(run_id: str) -> None:
        async with slots:
            try:
                take(await hook.get_run(run_id))
            except ExtendNotFoundError:
                gone.add(run_id)

    try:
        async with asyncio.TaskGroup() as fetches:
            for run_id in run_ids:
                fetches.create_task(fetch(run_id))
    except BaseExceptionGroup as failures:
        # The first one says what went wrong, and its type says whether trying again is of use.
        raise failures.exceptions[0] from None
    if gone:
        log.warning("%s runs that were listed are not there any more.", f"{len(gone):,}")
    return gone
