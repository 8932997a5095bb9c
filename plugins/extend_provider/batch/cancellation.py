"""Cancelling a task's work at Extend: a batch's runs, single runs, or an orphan that must be found first.

Extend cancels run by run: each takes a request, which is refused if the run has settled meanwhile and may
exceed the rate limit. So a cancellation has a time limit and a limit of concurrent requests, cancels what it
can, and reports what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import importlib
import shlex
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import msgspec

from extend_provider.batch.orphans import Orphan, find_orphan_async
from extend_provider.batch.waiting.progress import SETTLED_STATUSES
from extend_provider.client.models import RunStatus, RunSummary
from extend_provider.client.pacing.flight import InFlight
from extend_provider.client.pacing.limits import limits_of
from extend_provider.exceptions import ExtendBadRequestError, ExtendError, ExtendNotFoundError
from extend_provider.security import describe_error

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook

#: What happens to the work when a task's ``timeout`` has passed: it continues, or it is cancelled.
OnTimeout = Literal["leave", "cancel"]
ON_TIMEOUT: tuple[str, ...] = get_args(OnTimeout)

#: Seconds that a cancellation may take unless the process is about to be killed, see :func:`budget`.
CANCEL_SECONDS = 300.0
#: Shortest and longest time between two passes over the runs that are left, in seconds; it grows while a pass
#: cancels nothing.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0

#: A run with one of these statuses needs no request.
_NOT_AT_WORK = SETTLED_STATUSES | {RunStatus.CANCELLING}


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteWork:
    """What a task has at Extend: a batch, or single runs.

    :param run_ids: of single runs; there may be more, see ``orphan``.
    :param orphan: how to find what was submitted if its id is not known.
    :param run_count: how many runs the batch has; None if unknown: then the listed runs are all.
    :param waiters: the folder with a file for each task that needs the batch, see
        :mod:`extend_provider.batch.ownership`; None: only this task needs it.
    """

    conn_id: str
    batch_id: str | None = None
    run_count: int | None = None
    run_ids: tuple[str, ...] = ()
    waiters: str | None = None
    orphan: Orphan | None = None

    def __str__(self) -> str:
        if self.orphan is not None:
            what = "batch" if self.orphan.runs is None else "runs"
            return f"The {what} of the submission begun on {self.orphan.since}"
        return f"Batch {self.batch_id}" if self.batch_id else f"Runs {', '.join(self.run_ids)}"

    def to_json(self) -> dict[str, Any]:
        """Return the work as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Return the work from the result of :meth:`to_json`, also from that of release 0.1.0."""
        if "sought" in plain:
            orphan = plain["sought"] and {**plain["sought"], "key": plain["sought"]["mark"]}
            plain = {**plain, "waiters": plain["followers"], "orphan": orphan}
        return msgspec.convert(plain, cls)

    def found(self, batch_id: str) -> Self:
        """Return the same work with the id of its batch, or the ids of the orphan's runs."""
        if self.orphan is not None and self.orphan.runs is not None:
            return dataclasses.replace(self, run_ids=(*self.run_ids, *batch_id.split(",")), orphan=None)
        return dataclasses.replace(self, batch_id=batch_id, orphan=None)

    @property
    def command(self) -> str:
        """The command line that cancels the work."""
        return shlex.join(["airflow", "extend", "cancel", *self._options(), "--conn-id", self.conn_id])

    def _options(self) -> Iterator[str]:
        if self.batch_id:
            yield from ("--batch-id", self.batch_id)
        for run_id in self.run_ids:
            yield from ("--run-id", run_id)
        if self.orphan is not None:
            yield from ("--workflow-id", self.orphan.workflow_id)
            for key, pattern in self.orphan.key.patterns.items():
                yield from ("--metadata", f"{key}={pattern}")
            yield from ("--since", self.orphan.since, "--until", self.orphan.until)
            if self.orphan.runs is not None:
                yield from ("--runs", str(self.orphan.runs))


@dataclasses.dataclass(slots=True)
class Cancellation:
    """The progress of a cancellation.

    :ivar seen: known runs; at least as many as were submitted, if that is known.
    :ivar cancelled: runs that Extend cancels at our request.
    :ivar settled: runs that needed no request, or do not exist any more.
    :ivar reason: why runs are left; the latest reason.
    """

    work: RemoteWork
    seen: int = 0
    cancelled: int = 0
    settled: int = 0
    reason: str | None = None

    @property
    def left(self) -> int:
        """Number of runs that may still be at work."""
        return self.seen - self.cancelled - self.settled

    @property
    def complete(self) -> bool:
        """Return True if nothing of the work continues."""
        return not self.left and self.reason is None

    def __str__(self) -> str:
        """What happened to the work, and how to finish the cancellation, for a person."""
        if self.work.orphan is not None:
            return self._not_found(self.work.orphan)
        done = f"{self.cancelled:,} runs cancelled, {self.settled:,} had settled before"
        if self.complete:
            return f"{done}."
        left = f"{self.left:,} may still be at work" if self.seen else "its runs are not known"
        return f"{done}; {left}: {self.reason or 'no reason given'} To finish: {self.work.command}"

    def _not_found(self, orphan: Orphan) -> str:
        if self.complete:
            return "Extend did not accept it, so there is nothing to cancel."
        return (
            f"it was not found at Extend: {self.reason or 'no reason given'} If it was accepted, it is "
            f"listed at {orphan.until} at the latest. To search for it and cancel it: {self.work.command}"
        )


def budget(work: RemoteWork) -> float:
    """Return the seconds that a cancellation may take; more if the batch's absence must be proven first."""
    if work.orphan is None:
        return CANCEL_SECONDS
    proof = (work.orphan.proven_from - dt.datetime.now(dt.UTC)).total_seconds()
    return CANCEL_SECONDS + max(proof, 0.0)


async def cancel(
    work: RemoteWork,
    *,
    seconds: float | None = None,
    search_seconds: float | None = None,
    concurrency: int | None = None,
    on_change: Callable[[Cancellation], None] = lambda _: None,
) -> Cancellation:
    """Cancel the runs that have not settled; return the result. Raises no error of Extend.

    Transient errors, such as an outage, are retried as long as there is time.

    :param seconds: the time limit; None: see :func:`budget`.
    :param search_seconds: the part of it for finding a batch without an id; None: all of it.
    :param concurrency: most requests at a time; None: as many as the rate limit and the round trip allow.
    :param on_change: called after each run that is cancelled or has settled.
    """
    canceller = _Canceller(work, concurrency, on_change)
    limit = seconds = budget(work) if seconds is None else seconds
    try:
        async with asyncio.timeout(seconds):
            if work.orphan is not None:
                await canceller.run()  # the runs whose ids are known
                limit = min(search_seconds or seconds, seconds)
                async with asyncio.timeout(limit):
                    await canceller.find(work.orphan)
                limit = seconds
            await canceller.run()
    except TimeoutError:
        last = canceller.tally.reason
        canceller.tally.reason = f"time was up after {limit:g} s" + (f"; at last: {last}" if last else ".")
    except Exception as error:  # noqa: BLE001  # the caller ends a task next, and must report what is left
        canceller.tally.reason = str(error) if isinstance(error, ExtendError) else describe_error(error)
    return canceller.tally


def cancel_from_worker(
    work: RemoteWork, *, seconds: float = CANCEL_SECONDS, search_seconds: float | None = None
) -> Cancellation:
    """Cancel in a thread with its own event loop, so that a signal handler can wait for it."""
    tally = Cancellation(work, reason=f"time was up after {seconds:g} s.")

    def work_on_it() -> None:
        nonlocal tally
        tally = asyncio.run(cancel(work, seconds=seconds, search_seconds=search_seconds))

    thread = threading.Thread(target=work_on_it, daemon=True)
    thread.start()
    thread.join(seconds + PAUSE_SECONDS)
    return tally


class _Canceller:
    """One cancellation: passes over the runs until each one is cancelled or has settled."""

    def __init__(
        self, work: RemoteWork, concurrency: int | None, on_change: Callable[[Cancellation], None]
    ) -> None:
        self.tally = Cancellation(work, seen=max(work.run_count or 0, len(work.run_ids)))
        self._work = work
        self._concurrency = concurrency
        self._on_change = on_change
        self._known: set[str] = set()
        self._dealt_with: set[str] = set()
        self._refused: dict[str, str] = {}
        self._hindered: str | None = None  # why a run is left after this pass

    async def find(self, orphan: Orphan) -> None:
        """Search for the batch until it is found, or a complete listing proves its absence."""
        pause = PAUSE_SECONDS
        async with await self._hook() as hook:
            while True:
                unproven = (orphan.proven_from - dt.datetime.now(dt.UTC)).total_seconds()
                try:
                    found = await find_orphan_async(hook, orphan)
                except ExtendError as error:
                    self._wait_out(error)
                else:
                    self.tally.reason = None
                    if found:
                        self._work = self.tally.work = self._work.found(found.batch_id)
                        return
                    if unproven <= 0:
                        self.tally.seen = len(self._work.run_ids)
                        if self._work.run_ids:
                            self._work = self.tally.work = dataclasses.replace(self._work, orphan=None)
                        return
                await asyncio.sleep(min(pause, unproven) if unproven > 0 else pause)
                pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    async def run(self) -> None:
        if self._work.orphan is not None and not self._work.run_ids:
            return  # it does not exist
        pause = PAUSE_SECONDS
        async with await self._hook() as hook:
            while True:
                dealt_with, self._hindered = len(self._dealt_with), None
                try:
                    await self._pass(hook)
                except ExtendError as error:
                    self._wait_out(error)
                else:
                    if self.tally.left <= len(self._refused):
                        break
                    # Only now: if time is up during a pass, the reason of the one before is the latest.
                    self.tally.reason = self._hindered or "not all runs are listed yet."
                await asyncio.sleep(pause)
                idle = len(self._dealt_with) == dealt_with
                pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS) if idle else PAUSE_SECONDS
        self.tally.reason = next(iter(self._refused.values()), None)
        if not self.tally.seen:
            self.tally.reason = (
                "no run is listed; check the id, and that the connection is for its workspace."
            )

    def _wait_out(self, error: ExtendError) -> None:
        if not error.retryable:
            raise error
        self.tally.reason = str(error)

    async def _hook(self) -> ExtendAsyncHook:
        # The first import of the http provider is slow and would block the event loop.
        hooks = await asyncio.to_thread(importlib.import_module, "extend_provider.hooks.extend")
        hook: ExtendAsyncHook = hooks.ExtendAsyncHook(extend_conn_id=self._work.conn_id)
        return hook

    async def _pages(self, hook: ExtendAsyncHook) -> AsyncGenerator[Iterable[RunSummary], None]:
        if self._work.run_ids:
            yield [RunSummary(run_id, RunStatus.PENDING) for run_id in self._work.run_ids]
        if self._work.batch_id:
            async for page in hook.iter_run_pages(batch_id=self._work.batch_id):
                yield page

    async def _pass(self, hook: ExtendAsyncHook) -> None:
        async with contextlib.aclosing(self._pages(hook)) as pages:
            async for page in pages:
                await self._cancel_page(hook, page)

    async def _cancel_page(self, hook: ExtendAsyncHook, page: Iterable[RunSummary]) -> None:
        # A listing may show a run twice.
        runs = {run.id: run for run in page}
        self._known |= runs.keys()
        self.tally.seen = max(self.tally.seen, len(self._known))
        open_runs = [
            run for run in runs.values() if run.id not in self._dealt_with and run.id not in self._refused
        ]
        places = limits_of(await hook.get_settings()).in_flight("write", at_most=self._concurrency)
        async with asyncio.TaskGroup() as group:
            for run in open_runs:
                if run.status in _NOT_AT_WORK:
                    self._settled(run.id)
                else:
                    group.create_task(self._cancel_run(hook, run.id, places))

    async def _cancel_run(self, hook: ExtendAsyncHook, run_id: str, places: InFlight) -> None:
        async with places:
            try:
                await self._request_cancel(hook, run_id)
            except ExtendError as error:
                if error.retryable:
                    self.tally.reason = self._hindered = str(error)
                else:
                    self._refused[run_id] = str(error)

    async def _request_cancel(self, hook: ExtendAsyncHook, run_id: str) -> None:
        try:
            await hook.cancel_run(run_id)
        except ExtendNotFoundError:
            self._settled(run_id)
        except ExtendBadRequestError:
            # Extend refuses to cancel a run that has settled meanwhile; any other refusal is an error.
            if (await hook.get_run(run_id)).status not in _NOT_AT_WORK:
                raise
            self._settled(run_id)
        else:
            self._dealt_with.add(run_id)
            self.tally.cancelled += 1
            self._on_change(self.tally)

    def _settled(self, run_id: str) -> None:
        self._dealt_with.add(run_id)
        self.tally.settled += 1
        self._on_change(self.tally)
