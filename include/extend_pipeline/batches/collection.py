"""Collect: a batch's settled runs, exactly as Extend answers them, into the raw zone.

What is in the raw zone can be landed again at any time without asking Extend, so it comes before any table.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.attempts import Evidence, RunEnd, documents_without_run, tolerated_missing
from extend_pipeline.dag.outages import is_gone
from extend_pipeline.documents import Document
from extend_pipeline.storage.kept_parts import KeptPart, digest, find_part
from extend_pipeline.storage.raw_zone import PartWriter, RawPart, run_line
from extend_provider.batch.progress import SETTLED_STATUSES
from extend_provider.client.models import RunStatus, WorkflowRun
from extend_provider.exceptions import ExtendError

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
    accepting: str = "",
) -> RawPart:
    """Write every run of a batch into the raw zone, and the documents that it accounts for.

    What was collected before stays where Extend says less by now: it does not keep runs for ever, and the raw
    zone does. A few runs that are listed and not there any more are left out.

    :param documents: of the batch, those that were not sent with their status.
    :param expected: how many runs the batch has, those without that are known to be gone.
    :param accepting: what to do if runs are gone for good, in a sentence.
    :raises ExtendError: if fewer are there, or one is at work; nothing was written then.
    """
    run_ids = asyncio.run(_list(hook, batch_id))
    kept = find_part(destination, batch_id)
    runs = kept.runs if kept is not None else {}
    if len(run_ids | runs.keys()) < expected:
        raise ExtendError(
            f"Extend lists {len(run_ids):,} of the {expected:,} runs of batch {batch_id}, so nothing of the "
            "batch was collected. A retry collects it once all are listed. If the others were deleted at "
            "Extend, clear the wait task of this chunk: after missing_after it counts them as gone, and "
            "their documents land as RUN_MISSING.",
            retryable=True,
        )
    fresh: set[str] = set()
    changed: set[str] = set()

    def take(run: WorkflowRun) -> None:
        before = runs.get(run.id)
        if before is not None and before.keeps_out(run):
            return
        if run.status not in SETTLED_STATUSES:
            raise ExtendError(
                f"Run {run.id} of batch {batch_id} is {run.status}, so nothing of the batch was collected: "
                "its wait task was marked as success before it was through. A retry collects the batch once "
                "it has settled; to wait for that, clear the wait task.",
                retryable=True,
            )
        line = run_line(hook.api_version, run.received)
        part.add_run(line)
        fresh.add(run.id)
        if before is None or before.digest != digest(line):
            changed.add(run.id)

    accounted = list(documents)
    try:
        with PartWriter(destination, batch_id) as part:
            for document in accounted:
                part.add_document(document)
            gone = asyncio.run(_fetch_all(hook, run_ids, take))
            _check_present(batch_id, len(gone), len(fresh | runs.keys()), expected, accepting)
            if kept is not None:
                _keep(kept, part, {document.id for document in accounted}, fresh, changed)
    except _NothingNewError as nothing:
        return nothing.part
    return part.part


class _NothingNewError(Exception):
    """What was collected before, as ``part``, says all that Extend says now."""

    def __init__(self, part: RawPart) -> None:
        super().__init__()
        self.part = part


def _keep(kept: KeptPart, part: PartWriter, documents: set[str], fresh: set[str], changed: set[str]) -> None:
    """Take over what only the part that was collected before has."""
    if not changed and documents <= kept.documents:
        raise _NothingNewError(kept.part)
    if lost := len(kept.runs.keys() - fresh):
        log.warning("Extend says less of %s runs by now; they stay as they were collected.", f"{lost:,}")
    for document in kept.part.read_documents():
        if document.id not in documents:
            part.add_document(document)
    for line in kept.read_others(fresh):
        part.add_run(line)


def _check_present(batch_id: str, gone: int, present: int, expected: int, accepting: str) -> None:
    """See that many runs are not left out on the word of answers that may be wrong."""
    if expected - present > tolerated_missing(expected):
        raise ExtendError(
            f"{gone:,} runs of batch {batch_id} are listed and not there, so Extend has {present:,} of its "
            f"{expected:,} runs. Nothing of the batch was collected; what was collected before is as it was. "
            "Check that the connection is of the workspace that the batch was sent to, and clear this task. "
            f"{accepting}".rstrip(),
            retryable=True,
        )


async def _list(hook: ExtendAsyncHook, batch_id: str) -> set[str]:
    async with hook:
        return {run.id async for page in hook.iter_run_pages(batch_id=batch_id) for run in page}


async def _fetch_all(
    hook: ExtendAsyncHook, run_ids: Iterable[str], take: Callable[[WorkflowRun], object]
) -> set[str]:
    async with hook:
        return await _fetch(hook, run_ids, take)


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """What Extend tells of a batch's runs.

    :ivar statuses: of those that are listed, by id.
    :ivar gone: those of them that are not there.
    :ivar ends: how those ended that did not end well; every one if ``whole``.
    """

    statuses: Mapping[str, str]
    gone: Set[str]
    ends: Sequence[RunEnd]
    whole: bool

    @property
    def present(self) -> int:
        """How many are there."""
        return len(self.statuses) - len(self.gone)

    @property
    def unsettled(self) -> int:
        """How many are still at work."""
        return sum(
            self.statuses[run_id] not in SETTLED_STATUSES for run_id in self.statuses.keys() - self.gone
        )

    @property
    def failed(self) -> int:
        """How many did not end well."""
        return sum(end.status in _UNSUCCESSFUL for end in self.ends)

    @property
    def fine(self) -> frozenset[str]:
        """Those that are at work, in review or ended well."""
        ids = self.statuses.keys() - self.gone
        return frozenset(run_id for run_id in ids if self.statuses[run_id] not in _UNSUCCESSFUL)

    def evidence(self, sent: Sequence[str], submitted: int) -> Evidence:
        """Return the facts that are kept.

        :param sent: the documents of the batch.
        :param submitted: how many runs it has been given.
        """
        return Evidence(
            listed=len(self.statuses),
            missing=max(submitted - self.present, 0),
            gone=tuple(sorted(self.gone)),
            ends=tuple(self.ends),
            without_run=documents_without_run(sent, self.ends) if self.whole else (),
        )


def inspect(hook: ExtendAsyncHook, batch_id: str, expected: int, *, thorough: bool = False) -> Inspection:
    """List a batch and look up why runs did not end well: one request each, and one per 1,000 listed.

    If other runs are there than were submitted, every run is looked up: the list does not tell which document
    a run is for.

    :param thorough: look every run up anyway.
    """
    return asyncio.run(_inspect(hook, batch_id, expected, thorough))


async def _inspect(hook: ExtendAsyncHook, batch_id: str, expected: int, thorough: bool) -> Inspection:
    statuses: dict[str, str] = {}
    ends: list[RunEnd] = []

    def take(run: WorkflowRun) -> None:
        statuses[run.id] = run.status
        document_id = run.metadata.get("document_id")
        known = document_id if isinstance(document_id, str) else None
        ends.append(RunEnd(known, run.status, run.failure_reason, run.started_at or run.ended_at, run.id))

    async with hook:
        async for page in hook.iter_run_pages(batch_id=batch_id):
            statuses.update((run.id, run.status) for run in page)
        others = {run_id for run_id, status in statuses.items() if status not in _UNSUCCESSFUL}
        gone = await _fetch(hook, statuses.keys() - others, take)
        whole = thorough or len(statuses) != expected or bool(gone)
        if whole:
            gone |= await _fetch(hook, others, take)
    return Inspection(statuses, gone, ends, whole)


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
            except ExtendError as error:
                if not is_gone(error):
                    raise
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
