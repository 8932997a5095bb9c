"""The runs of a batch: out of the inbox where a webhook has brought them, from Extend where not.

A webhook carries the whole run, so a run that has arrived costs no request. Invariants: what is in the inbox
is no listing, so runs that are not in it are looked for at Extend; a webhook that Extend's list contradicts
counts only if it is the newer of the two; what cannot be read, or lacks what landing needs, is asked for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from extend_pipeline.exceptions import is_gone
from extend_pipeline.storage.raw_zone import run_line
from extend_provider.batch.waiting.progress import SETTLED_STATUSES
from extend_provider.client.models import (
    ProcessorResult,
    RunStatus,
    RunSummary,
    WorkflowRun,
    utc_moment,
)
from extend_provider.client.pacing.limits import limits_of
from extend_provider.client.pacing.machine import shared
from extend_provider.exceptions import ExtendError
from extend_provider.security import describe_error
from extend_provider.webhooks.inbox.store import Arrived, Inbox

if TYPE_CHECKING:
    from extend_provider.client.settings import ExtendSettings
    from extend_provider.hooks.extend import ExtendAsyncHook

log = logging.getLogger(__name__)

#: Webhooks read at the same time. How many runs are asked for follows the round trip and the rate limit.
PARALLEL: Final = 8
#: Statuses of runs that have results; how the others ended is all there is.
_WITH_RESULTS: Final = frozenset({RunStatus.PROCESSED, RunStatus.NEEDS_REVIEW})


class ReceivedRun(NamedTuple):
    """A run, from either source.

    :ivar line: its line for the raw zone, in the API version that it was received in.
    """

    run: WorkflowRun
    line: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class BatchRuns:
    """The runs of a batch at one moment.

    :ivar statuses: of every run that is listed or has arrived, by id.
    :ivar arrived: those of which the inbox has the latest state that is known.
    :ivar names: everything that the inbox had of the batch.
    :ivar is_listed: whether Extend was asked for its list.
    """

    batch_id: str
    statuses: Mapping[str, str]
    inbox: Inbox | None = None
    arrived: Mapping[str, Arrived] = dataclasses.field(default_factory=dict)
    names: tuple[str, ...] = ()
    is_listed: bool = True

    async def read(
        self, hook: ExtendAsyncHook, run_ids: Iterable[str], take: Callable[[ReceivedRun], object]
    ) -> set[str]:
        """Read runs, many at a time; return the ids of those that do not exist any more.

        :param hook: entered.
        """
        webhooks = asyncio.Semaphore(PARALLEL)
        limits = limits_of(await hook.get_settings())
        requests = limits.in_flight("read")
        gone: set[str] = set()
        refused: list[str] = []

        async def read_one(run_id: str) -> None:
            async with webhooks:
                received = await self._from_inbox(run_id, refused)
                if received is not None:
                    take(received)
                    return
            async with requests:
                try:
                    run = await hook.get_run(run_id)
                except ExtendError as error:
                    if not is_gone(error):
                        raise
                    gone.add(run_id)
                    return
                take(ReceivedRun(run, run_line(hook.api_version, run.received)))

        try:
            async with shared(limits, "read"), asyncio.TaskGroup() as reads:
                for run_id in run_ids:
                    reads.create_task(read_one(run_id))
        except BaseExceptionGroup as failures:
            # The retry policy decides by the type of a single error, not of a group.
            raise failures.exceptions[0] from None
        if refused:
            many = f"{len(refused):,} webhooks of batch {self.batch_id}"
            log.warning("%s could not be used, so these runs were asked for: %s", many, refused[0])
        if gone:
            log.warning("%s listed runs do not exist any more.", f"{len(gone):,}")
        return gone

    async def _from_inbox(self, run_id: str, refused: list[str]) -> ReceivedRun | None:
        """Return a run as its webhook brought it; None if it has to be asked for."""
        arrived = self.arrived.get(run_id)
        if self.inbox is None or arrived is None:
            return None
        try:
            return await asyncio.to_thread(read_webhook, self.inbox, self.batch_id, arrived)
        except Exception as error:  # noqa: BLE001  # of whatever store there is; Extend has the run too
            refused.append(describe_error(error))
            return None


async def find_runs(hook: ExtendAsyncHook, batch_id: str, *, submitted: int, listing: bool) -> BatchRuns:
    """Find the runs of a batch: in the inbox, and by Extend's list where that is not complete.

    :param hook: entered.
    :param submitted: how many runs the batch was submitted with.
    :param listing: ask Extend for its list in any case.
    """
    settings = await hook.get_settings()
    inbox = Inbox.of(settings)
    arrived = {} if inbox is None else await _arrived(inbox, batch_id, settings)
    names = tuple(name for run in arrived.values() for name in run.names)
    settled = {run_id: run for run_id, run in arrived.items() if run.settled}
    statuses = {run_id: run.status for run_id, run in arrived.items()}
    if not listing and len(settled) == len(arrived) == submitted:
        return BatchRuns(batch_id, statuses, inbox, settled, names, is_listed=False)
    listed = {run.id: run async for page in hook.iter_run_pages(batch_id=batch_id) for run in page}
    if len(listed) >= submitted:
        settled = {run_id: run for run_id, run in settled.items() if run_id in listed}
        statuses = {run_id: status for run_id, status in statuses.items() if run_id in listed}
    latest = {run_id: run for run_id, run in settled.items() if _holds(run, listed.get(run_id))}
    statuses |= {run_id: run.status for run_id, run in listed.items() if run_id not in latest}
    return BatchRuns(batch_id, statuses, inbox, latest, names)


def read_webhook(inbox: Inbox, batch_id: str | None, arrived: Arrived) -> ReceivedRun:
    """Read a run as its webhook brought it. Blocks.

    :raises ExtendError: it lacks what landing needs, or is not this run.
    :raises Exception: whatever the store raises.
    """
    delivered = inbox.read(batch_id, arrived)
    run = delivered.run
    if (run.id, run.status, run.batch_id) != (arrived.run_id, arrived.status, batch_id):
        raise ExtendError(f"the object of run {arrived.run_id} holds another one")
    if lack := missing_part(run):
        raise ExtendError(f"the webhook of run {run.id} has no {lack}")
    return ReceivedRun(run, run_line(delivered.api_version, delivered.received))


def missing_part(run: WorkflowRun) -> str | None:
    """Return which part that landing needs a run lacks; None if it has all.

    Extend documents a webhook's payload as the whole run. One that was sent early, or cut, would land a
    document without its values or its price.
    """
    if not isinstance(run.metadata.get("document_id"), str):
        return "document_id in its metadata"
    if run.status not in _WITH_RESULTS:
        return None
    if not run.steps:
        return "results"
    if run.credits is None:
        return "usage"
    for step in run.steps:
        if step.status == RunStatus.PROCESSED and step.result is None and step.output is None:
            return f"result of its step {step.type}"
        if step.status == RunStatus.PROCESSED and step.result is not None and _is_empty(step.result):
            return f"output of its step {step.type}"
    return None


def _is_empty(result: ProcessorResult) -> bool:
    """Return True if an extractor's result has neither a value nor anything about one."""
    return result.kind == "extract" and result.value is None and not result.metadata


async def _arrived(inbox: Inbox, batch_id: str, settings: ExtendSettings) -> dict[str, Arrived]:
    """Return what is in the inbox, and on the queue before it if there is one."""
    from extend_provider.webhooks.queue import drain_async

    await drain_async(settings)
    try:
        return await asyncio.to_thread(inbox.arrived, batch_id)
    except Exception as error:  # noqa: BLE001  # of whatever store there is; Extend has the runs too
        log.warning("The inbox of webhooks cannot be read, so Extend is asked: %s", describe_error(error))
        return {}


def _holds(arrived: Arrived, listed: RunSummary | None) -> bool:
    """Return True if a webhook's state is the run's latest: the list says the same, or an earlier state."""
    if listed is None or listed.status == arrived.status:
        return True
    if listed.status in SETTLED_STATUSES - {RunStatus.NEEDS_REVIEW}:
        return False
    try:
        changed = utc_moment(listed.updated_at or "").astimezone(dt.UTC)
    except ValueError:
        return False
    return f"{changed:%Y%m%dT%H%M%S%fZ}" < arrived.updated_at
