"""The engine: takes queued runs in order of priority and has them worked on in the background."""

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

#: How often a paced queue is looked at: its pace refills with time, not with an event.
PACE_SECONDS = 0.2


class Engine:
    """Decides which run is worked on when; ``settings`` is asked for each run anew."""

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
        """Stop everything that is under way."""
        if self._dispatcher:
            self._dispatcher.cancel()
        await self.reset()
        await self.processor.stop()

    async def reset(self) -> None:
        """Forget the queue and give up what is under way."""
        self._queue.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._pace = RateLimiter(60.0)

    @property
    def queued(self) -> int:
        """How many runs wait."""
        return len(self._queue)

    def submit(self, run: Run) -> None:
        """Queue a run; among equal priorities the older one comes first."""
        run.taken = False
        heapq.heappush(self._queue, (run.priority, run.created_seq, run))
        self._wake.set()

    def wake(self) -> None:
        """Look at the queue again: the settings may allow more now."""
        self._wake.set()

    def cancel(self, run: Run) -> None:
        """Begin to cancel a run: CANCELLING now, CANCELLED a little later."""
        self.abandon(run)
        run.status = model.CANCELLING
        self._store.touch(run)
        self._spawn(run, self._finish_cancelling(run))

    def abandon(self, run: Run) -> None:
        """Give up whatever is being done about a run."""
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
                self._spawn(run, self._guarded(run))
            paced = bool(self._queue) and self._settings().runs_per_minute is not None
            try:
                await asyncio.wait_for(self._wake.wait(), PACE_SECONDS if paced else None)
            except TimeoutError:
                continue

    def _next_run(self) -> Run | None:
        """Take the next run off the queue; None while none may start."""
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
        """Do ``work`` in the background; it takes one of the places until it is done or abandoned."""
        task = asyncio.create_task(work)
        self._tasks[run.id] = task
        task.add_done_callback(lambda done: self._release(run, done))

    def _release(self, run: Run, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run.id) is task:
            del self._tasks[run.id]
        self._wake.set()

    async def _guarded(self, run: Run) -> None:
        """Work on a run; an error of ours fails it, and is in the log."""
        try:
            await self.processor.process(run)
        except Exception:
            logger.exception("Run %s broke the emulator", run.id)
            self.processor.fail(run, "INTERNAL_ERROR", "The emulator broke; its log says how.")
