"""The engine: takes queued runs by priority and processes them in the background."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from sandbox.extend_api.engine.processing import Processor
from sandbox.extend_api.settings import Settings
from sandbox.extend_api.state import model
from sandbox.extend_api.state.faults import RateLimiter
from sandbox.extend_api.state.model import Run
from sandbox.extend_api.state.store import Store

logger = logging.getLogger(__name__)

#: Seconds between two looks at a queue with a throughput limit, which refills over time.
PACE_SECONDS = 0.2


class Engine:
    """Decides when each run is processed; ``settings`` is called for each run."""

    def __init__(self, store: Store, settings: Callable[[], Settings]) -> None:
        self._store = store
        self._settings = settings
        self.processor = Processor(store, settings)
        self._queue: list[tuple[int, int, Run]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._pace = RateLimiter(60.0)
        self._dispatcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start taking runs."""
        self.processor.start()
        self._dispatcher = asyncio.create_task(self._dispatch())

    async def stop(self) -> None:
        """Stop the engine and all runs that it processes."""
        if self._dispatcher:
            self._dispatcher.cancel()
        await self.reset()
        await self.processor.stop()

    async def reset(self) -> None:
        """Clear the queue and stop all runs."""
        self._queue.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._pace = RateLimiter(60.0)

    @property
    def queued(self) -> int:
        """Number of queued runs."""
        return len(self._queue)

    def submit(self, run: Run) -> None:
        """Queue a run; of equal priorities the older run comes first."""
        run.taken = False
        heapq.heappush(self._queue, (run.priority, run.created_seq, run))
        self._wake.set()

    def wake(self) -> None:
        """Check the queue again, because the settings may now allow more runs."""
        self._wake.set()

    def cancel(self, run: Run) -> None:
        """Cancel a run: it is CANCELLING now and CANCELLED a little later."""
        self.abandon(run)
        run.status = model.CANCELLING
        self._store.touch(run)
        self._spawn(run, self._finish_cancelling(run))

    def abandon(self, run: Run) -> None:
        """Stop processing a run."""
        run.taken = True
        if task := self._tasks.pop(run.id, None):
            task.cancel()

    async def _finish_cancelling(self, run: Run) -> None:
        await asyncio.sleep(self._settings().cancelling_seconds)
        self.processor.settle(run, model.CANCELLED)

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            while (run := self._next_run()) is not None:
                self._spawn(run, self._process(run))
            paced = bool(self._queue) and self._settings().runs_per_minute is not None
            try:
                await asyncio.wait_for(self._wake.wait(), PACE_SECONDS if paced else None)
            except TimeoutError:
                continue

    def _next_run(self) -> Run | None:
        """Take the next run from the queue; None if no run may start."""
        settings = self._settings()
        while self._queue and self._queue[0][2].taken:  # cancelled or deleted while it waited
            heapq.heappop(self._queue)
        if not self._queue or settings.hold or len(self._tasks) >= settings.max_concurrent_runs:
            return None
        if settings.runs_per_minute is not None and not self._pace.admit(settings.runs_per_minute):
            return None
        run = heapq.heappop(self._queue)[2]
        run.taken = True
        return run

    def _spawn(self, run: Run, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` in the background; it counts as a concurrent run until it ends or is abandoned."""
        task = asyncio.create_task(work)
        self._tasks[run.id] = task
        task.add_done_callback(lambda done: self._release(run, done))

    def _release(self, run: Run, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run.id) is task:
            del self._tasks[run.id]
        self._wake.set()

    async def _process(self, run: Run) -> None:
        """Process a run; an error of the emulator fails the run and is logged."""
        try:
            await self.processor.process(run)
        except Exception:
            logger.exception("The emulator failed on run %s", run.id)
            self.processor.fail(run, "INTERNAL_ERROR", "The emulator failed; see its log.")
