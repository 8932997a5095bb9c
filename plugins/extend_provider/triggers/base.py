"""What both triggers share: look, decide, tell, sleep; report once, never raise; cancel when killed.

Invariants: the triggerer's loop is never blocked (asynchronous requests; Airflow's own calls in a thread); a
cancellation passes through untouched; the deadline is a wall-clock time, which a restarted triggerer keeps;
what is at Extend is cancelled when the task has ended under this trigger, and else left alone.
"""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import importlib
import time
import traceback
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.polling import BatchProgress, Outcome
from extend_provider.batch.waiting import Ended, Step, Wait, WaitPolicy
from extend_provider.exceptions import ExtendConnectionError
from extend_provider.links.dashboard import DASHBOARD_URL_KEY
from extend_provider.security import describe_error
from extend_provider.triggers.cancelling import CancellingTrigger
from extend_provider.triggers.progress import TaskDisplay

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook

#: XCom key of the progress shown in Airflow's UI while the task is deferred.
PROGRESS_KEY = "progress"
#: Seconds after the deferral before which a trigger does not report. Airflow notes a worker's exit some time
#: after the task has deferred; a task that is queued again before that is taken for one that was killed from
#: outside, and loses a retry (seen on 3.3.2, ``SchedulerJobRunner.process_executor_events``).
EARLIEST_REPORT_SECONDS = 5.0
#: Seconds that a look may take past the deadline, so that a wait over in time is still seen as such.
LAST_LOOK_SECONDS = 30.0
#: Seconds after the deadline at which Airflow may give up on the trigger itself.
REPORT_GRACE_SECONDS = 120.0


class ExtendWaitTrigger(CancellingTrigger):
    """Waits for runs without a worker slot and reports one :class:`~extend_provider.batch.waiting.Ended`.

    :param extend_conn_id: connection to Extend.
    :param policy: how to wait, as keyword arguments of :class:`~extend_provider.batch.waiting.WaitPolicy`.
    :param cancel_on_kill: cancel the runs that have not settled when the task is marked failed or success, or
        its DAG run is deleted, while it is deferred.
    """

    def __init__(self, *, extend_conn_id: str, policy: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.extend_conn_id = extend_conn_id
        self.policy = WaitPolicy(**policy)

    @property
    @abc.abstractmethod
    def work(self) -> RemoteWork:
        """What is waited for."""

    @abc.abstractmethod
    async def look(self, hook: ExtendAsyncHook) -> BatchProgress:
        """Ask Extend once."""

    def report(self, ended: Ended) -> Ended:
        """Return the record of the end with what this trigger has to add."""
        return ended

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, all of them plain JSON."""
        kind = type(self)
        arguments = {
            "extend_conn_id": self.extend_conn_id,
            "policy": dataclasses.asdict(self.policy),
            "cancel_on_kill": self.cancel_on_kill,
            "owner": self.owner,
        }
        return f"{kind.__module__}.{kind.__qualname__}", {**arguments, **self.arguments()}

    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the arguments that a subclass adds."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield exactly one event, and not too soon."""
        begun = time.monotonic()
        try:
            ended = await self._wait()
        except Exception as error:  # noqa: BLE001  # a trigger that raises fails its task without a word
            # The frames alone: an unexpected error's text may hold what must not be logged.
            frames = "".join(traceback.format_tb(error.__traceback__))
            self.log.error("%s: %s\n%s", self.work, describe_error(error), frames)  # noqa: TRY400  # see above
            ended = self.report(Wait(self.policy).broken(error))
        await asyncio.sleep(max(begun + EARLIEST_REPORT_SECONDS - time.monotonic(), 0.0))
        yield TriggerEvent(ended.as_event())  # type: ignore[no-untyped-call]  # Airflow leaves it untyped

    async def _wait(self) -> Ended:
        wait = Wait(self.policy)
        # The first import of the http provider takes its time, which is not the loop's to spend.
        hooks = await asyncio.to_thread(importlib.import_module, "extend_provider.hooks.extend")
        display = TaskDisplay(self.task_instance, self.log)
        # Its connection is looked up with the first look, and with later ones while that fails.
        hook = hooks.ExtendAsyncHook(extend_conn_id=self.extend_conn_id)
        try:
            while True:
                step = await self._step(hook, wait)
                if step.changed:
                    self._tell(step, wait.progress, display)
                if step.ended is not None:
                    await display.settle()
                    return self.report(step.ended)
                await asyncio.sleep(step.delay)
        finally:
            display.stop()
            await hook.close()

    async def look_once(self) -> Ended | None:
        """Ask Extend once, in a worker, and judge; None if the wait is not over."""
        from extend_provider.hooks.extend import ExtendAsyncHook

        wait = Wait(self.policy)
        try:
            async with ExtendAsyncHook(extend_conn_id=self.extend_conn_id) as hook:
                ended = (await self._step(hook, wait)).ended
        except Exception as error:  # noqa: BLE001  # as in the triggerer: how it went is a report
            ended = wait.broken(error)
        return None if ended is None else self.report(ended)

    async def _step(self, hook: ExtendAsyncHook, wait: Wait) -> Step:
        remaining = max(self.policy.deadline - time.time(), 0.0)
        try:
            async with asyncio.timeout(remaining + LAST_LOOK_SECONDS):
                await hook.get_settings()
                progress = await self.look(hook)
        except TimeoutError:
            slow = ExtendConnectionError("Extend's answer did not arrive in time.", retryable=True)
            return self._failed(wait, slow)
        except Exception as error:  # noqa: BLE001  # judged by the state machine: waited out or final
            return self._failed(wait, error)
        return wait.seen(progress, now=time.time())

    def _failed(self, wait: Wait, error: Exception) -> Step:
        step = wait.failed(error, now=time.time())
        self.log.warning("%s: %s", self.work, step.decision.message)
        return step

    def _tell(self, step: Step, progress: BatchProgress | None, display: TaskDisplay) -> None:
        if step.decision.outcome in {Outcome.WAIT, Outcome.DONE, Outcome.SHORT}:
            self.log.info("%s: %s", self.work, step.decision.message)
        if progress is None:
            return
        for warning in progress.warnings:
            self.log.warning("%s: %s", self.work, warning)
        display.show(**{PROGRESS_KEY: progress.as_dict()})
        if progress.dashboard_url:
            display.show(**{DASHBOARD_URL_KEY: progress.dashboard_url})
