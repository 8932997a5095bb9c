"""The trigger of the asset watcher: an endless watch over a queue, with an asset event for each announcement.

Invariants: the triggerer's loop is never blocked (one thread of its own does the work); the trigger never
raises and never ends by itself; a cancellation passes through untouched. What is in the thread's hands when
the triggerer dies is in the queue or in the workspace, and the next trigger finds it there.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from extend_provider.security import describe_error

#: Seconds between two attempts while something is wrong; doubled each time, up to the longest.
FIRST_PAUSE: float = 5.0
LONGEST_PAUSE: Final = 300.0


class ArrivalsTrigger(BaseEventTrigger):
    """Watches a queue; see :class:`~extend_pipeline.config.Arrivals` for the arguments.

    Airflow runs one trigger for all assets whose watchers have the same arguments, so these are plain JSON
    and written in one way only.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.arguments = arguments
        # Not Airflow's shared threads: this one is nearly always busy.
        self._executor: ThreadPoolExecutor | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", dict(self.arguments)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event whenever a run is to start; endless."""
        failures = 0
        watch: Any = None
        while True:
            try:
                if watch is None:
                    watch = await self._in_thread(self._new_watch)
                announcement = await self._in_thread(watch.step)
            except Exception as error:  # noqa: BLE001  # whatever it is, it may be over at the next attempt
                pause = min(FIRST_PAUSE * 2.0 ** min(failures, 16), LONGEST_PAUSE)
                failures += 1
                self.log.error(  # noqa: TRY400  # the text of an unexpected error may hold secrets
                    "Arrivals are not taken in; tried again in %.0f s, and nothing is lost: %s",
                    pause,
                    describe_error(error),
                )
                if watch is not None:
                    watch.reopen()
                await asyncio.sleep(pause)
                continue
            failures = 0
            if announcement is not None:
                event = {"arrivals": self.arguments.get("arrivals"), **announcement._asdict()}
                self.log.info("A run is to start: %s.", event)
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped

    async def cleanup(self) -> None:
        """Let the thread end after its step; what it has received is written and deleted by then."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def _new_watch(self) -> Any:
        # Imported in the thread: the first import of the object stores is slow.
        from extend_pipeline.arrivals.watch import Watch

        return Watch(self.arguments, self.log)

    async def _in_thread(self, function: Any) -> Any:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="extend-arrivals")
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._executor, context.run, function)
