"""Cancelling what a task has at Extend: a batch's runs, or single ones.

Extend cancels run by run: each takes a request, is refused where a run has settled meanwhile, and may be
turned away by the rate limit. So a cancellation is bounded in time and in requests at a time, does what it
can, and says what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import shlex
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Literal, get_args

from extend_provider.batch_progress import SETTLED
from extend_provider.exceptions import ExtendBadRequestError, ExtendError, ExtendNotFoundError
from extend_provider.models import RunStatus, RunSummary
from extend_provider.redaction import describe_error

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook

#: What becomes of the work when a task's ``timeout`` has passed: it goes on, or it is cancelled.
OnTimeout = Literal["leave", "cancel"]
ON_TIMEOUT: tuple[str, ...] = get_args(OnTimeout)

#: Seconds that a cancellation may take where nobody is about to kill the process.
CANCEL_SECONDS = 300.0
#: Requests at a time.
CONCURRENCY = 8
#: Seconds between two passes over runs that are not listed yet or could not be reached.
PAUSE_SECONDS = 1.0

#: Nothing more to do for a run in one of these.
_OVER = SETTLED | {RunStatus.CANCELLING}


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteWork:
    """What a task has at Extend: a batch, or single runs.

    :param run_count: how many runs the batch has; None if that is not known, then those listed are all.
    :param followers: where those who wait for it are marked, see :mod:`extend_provider.followers`; None: it
        is this task's alone.
    """

    conn_id: str
    batch_id: str | None = None
    run_count: int | None = None
    run_ids: tuple[str, ...] = ()
    followers: str | None = None

    def __str__(self) -> str:
        return f"Batch {self.batch_id}" if self.batch_id else f"Runs {', '.join(self.run_ids)}"

    @property
    def command(self) -> str:
        """The command line that cancels the work."""
        batch = ["--batch-id", self.batch_id] if self.batch_id else []
        runs = [word for run_id in self.run_ids for word in ("--run-id", run_id)]
        return shlex.join(
            ["python", "-m", "extend_provider", "cancel", *batch, *runs, "--conn-id", self.conn_id]
        )


@dataclasses.dataclass(slots=True)
class Cancellation:
    """How far a cancellation is.

    :ivar seen: runs known of; at least as many as were submitted, where that is known.
    :ivar cancelled: runs that Extend cancels at our request.
    :ivar settled: runs that needed no request any more, or are gone.
    :ivar reason: why runs are left, as of the last one.
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
        """Whether nothing of the work goes on."""
        return not self.left and self.reason is None

    def __str__(self) -> str:
        """What became of the work, and how to finish it, for a person."""
        done = f"{self.cancelled:,} runs cancelled, {self.settled:,} had settled before"
        if self.complete:
            return f"{done}."
        left = f"{self.left:,} may still be at work" if self.seen else "which runs there are is not known"
        return f"{done}; {left}: {self.reason or 'no reason given'} To finish: {self.work.command}"


async def cancel(
    work: RemoteWork,
    *,
    seconds: float = CANCEL_SECONDS,
    concurrency: int = CONCURRENCY,
    on_change: Callable[[Cancellation], None] = lambda _: None,
) -> Cancellation:
    """Cancel the runs that have not settled; returns what became of them and raises nothing of Extend's.

    :param seconds: how long it may take.
    :param concurrency: requests at a time.
    :param on_change: told of every run that is dealt with.
    """
    canceller = _Canceller(work, concurrency, on_change)
    try:
        async with asyncio.timeout(seconds):
            await canceller.run()
    except TimeoutError:
        canceller.tally.reason = f"time was up after {seconds:g} s."
    except Exception as error:  # noqa: BLE001  # whoever cancels goes on to end a task, and says what is left
        canceller.tally.reason = str(error) if isinstance(error, ExtendError) else describe_error(error)
    return canceller.tally


def cancel_from_worker(work: RemoteWork, *, seconds: float = CANCEL_SECONDS) -> Cancellation:
    """Cancel in a thread with a loop of its own, so that even a signal handler may wait for it."""
    tally = Cancellation(work, reason=f"time was up after {seconds:g} s.")

    def work_on_it() -> None:
        nonlocal tally
        tally = asyncio.run(cancel(work, seconds=seconds))

    thread = threading.Thread(target=work_on_it, daemon=True)
    thread.start()
    thread.join(seconds + PAUSE_SECONDS)
    return tally


class _Canceller:
    """One cancellation: pass after pass over the runs, until each one is dealt with."""

    def __init__(self, work: RemoteWork, concurrency: int, on_change: Callable[[Cancellation], None]) -> None:
        self.tally = Cancellation(work, seen=max(work.run_count or 0, len(work.run_ids)))
        self._work = work
        self._slots = asyncio.Semaphore(concurrency)
        self._on_change = on_change
        self._known: set[str] = set()
        self._dealt_with: set[str] = set()
        self._refused: dict[str, str] = {}

    async def run(self) -> None:
        # The first import of the http provider takes its time, which is not the loop's to spend.
        hooks = await asyncio.to_thread(importlib.import_module, "extend_provider.hooks.extend")
        async with hooks.ExtendAsyncHook(extend_conn_id=self._work.conn_id) as hook:
            while True:
                self.tally.reason = None
                async with contextlib.aclosing(self._pages(hook)) as pages:
                    async for page in pages:
                        await self._cancel_page(hook, page)
                if self.tally.left <= len(self._refused):
                    break
                self.tally.reason = self.tally.reason or "not all of them are listed yet."
                await asyncio.sleep(PAUSE_SECONDS)
        self.tally.reason = next(iter(self._refused.values()), None)
        if not self.tally.seen:
            self.tally.reason = (
                "not one is listed; check the id, and that the connection is of its workspace."
            )

    async def _pages(self, hook: ExtendAsyncHook) -> AsyncGenerator[Iterable[RunSummary], None]:
        if self._work.run_ids:
            yield [RunSummary(run_id, RunStatus.PENDING) for run_id in self._work.run_ids]
        if self._work.batch_id:
            async for page in hook.iter_run_pages(batch_id=self._work.batch_id):
                yield page

    async def _cancel_page(self, hook: ExtendAsyncHook, page: Iterable[RunSummary]) -> None:
        # A listing may show a run twice.
        runs = {run.id: run for run in page}
        self._known |= runs.keys()
        self.tally.seen = max(self.tally.seen, len(self._known))
        open_runs = [
            run for run in runs.values() if run.id not in self._dealt_with and run.id not in self._refused
        ]
        async with asyncio.TaskGroup() as group:
            for run in open_runs:
                if run.status in _OVER:
                    self._settled(run.id)
                else:
                    group.create_task(self._cancel_run(hook, run.id))

    async def _cancel_run(self, hook: ExtendAsyncHook, run_id: str) -> None:
        async with self._slots:
            try:
                await self._ask(hook, run_id)
            except ExtendError as error:
                if error.retryable:
                    self.tally.reason = str(error)
                else:
                    self._refused[run_id] = str(error)

    async def _ask(self, hook: ExtendAsyncHook, run_id: str) -> None:
        try:
            await hook.cancel_run(run_id)
        except ExtendNotFoundError:
            self._settled(run_id)
        except ExtendBadRequestError:
            # Refused is what has settled in the meantime; anything else is worth telling.
            if (await hook.get_run(run_id)).status not in _OVER:
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
