"""Base classes of the triggers: poll, decide, report, sleep; one event, no exception; cancel when killed.

Invariants: the triggerer's loop is never blocked (asynchronous requests; Airflow's own calls in a thread); a
cancellation passes through untouched; the deadline is a wall-clock time, which a restarted triggerer keeps;
work at Extend is cancelled when the task has ended while this trigger owned it. A kill that only moves the
task to its next attempt or to another triggerer cancels nothing.
"""

from __future__ import annotations

import abc
import asyncio
import importlib
import random
import time
import traceback
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf
from airflow.triggers.base import BaseTrigger, TriggerEvent

from extend_provider.batch.cancellation import RemoteWork, budget, cancel
from extend_provider.batch.ownership import manual_cancel_advice, should_cancel
from extend_provider.batch.waiting.budget import Turn
from extend_provider.batch.waiting.polling import Outcome, PollResult, WaitPolicy
from extend_provider.batch.waiting.progress import BatchProgress, InboxProgress
from extend_provider.batch.waiting.shared import shared_pace
from extend_provider.batch.waiting.watching import InboxPoller
from extend_provider.exceptions import ExtendConnectionError
from extend_provider.links.dashboard import DASHBOARD_URL_KEY
from extend_provider.security import describe_error
from extend_provider.triggers.looking import LOOK_SECONDS, open_waits, watching
from extend_provider.triggers.progress import TaskProgress

if TYPE_CHECKING:
    from extend_provider.client.settings import ExtendSettings
    from extend_provider.hooks.extend import ExtendAsyncHook

#: XCom key of the progress shown in Airflow's UI while the task is deferred.
PROGRESS_KEY = "progress"
#: Seconds after the deferral before which a trigger does not report. Airflow notes that the worker has left
#: at once, or with the next heartbeat of the process that supervises the task; two more are for the
#: scheduler. Airflow considers a task that is queued again before that as killed from outside, and it loses a
#: retry (seen on 3.3.2, ``SchedulerJobRunner.process_executor_events``). So the triggerer needs the setting
#: that workers have.
EARLIEST_REPORT_SECONDS = conf.getint("workers", "min_heartbeat_interval") + 2.0
#: Seconds that a worker has for its look before it defers the task.
FIRST_LOOK_SECONDS = 10.0
#: Seconds that a poll may take past the deadline, so that runs that settled in time are still counted.
LAST_POLL_SECONDS = 30.0
#: Seconds after the deadline at which Airflow may give up on the trigger itself.
REPORT_GRACE_SECONDS = 120.0


class CancellingTrigger(BaseTrigger):
    """Cancels its work if its task was ended, even if the triggerer cancels the trigger meanwhile.

    :param cancel_on_kill: whether to cancel.
    :param owner: the token of the process that has deferred the task, see
        :mod:`extend_provider.batch.ownership`.
    """

    def __init__(self, *, cancel_on_kill: bool = True, owner: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.cancel_on_kill = cancel_on_kill
        self.owner = owner
        self._cancellation: asyncio.Task[None] | None = None

    @property
    @abc.abstractmethod
    def work(self) -> RemoteWork | None:
        """The work that exists, or may exist, at Extend."""

    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the arguments that a subclass adds; all of them plain JSON."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        kind, shared = type(self), {"cancel_on_kill": self.cancel_on_kill, "owner": self.owner}
        return f"{kind.__module__}.{kind.__qualname__}", {**self.arguments(), **shared}

    async def on_kill(self) -> None:
        """Cancel the work if the task was ended; not if it was cleared or moved to another triggerer."""
        if self.cancel_on_kill and self.work is not None:
            self._cancellation = asyncio.ensure_future(self._cancel_if_ended(self.work))
            await self.cleanup()

    async def cleanup(self) -> None:
        """Wait for a running cancellation, which also keeps the task's log open for its result.

        The triggerer cancels this coroutine about once a second.
        """
        while self._cancellation is not None and not self._cancellation.done():
            try:
                await asyncio.shield(self._cancellation)
            except asyncio.CancelledError:
                continue

    async def _cancel_if_ended(self, work: RemoteWork) -> None:
        try:
            if not await asyncio.to_thread(should_cancel, work, self.task_instance, self.owner, self.log):
                return
        except Exception as error:  # noqa: BLE001  # a cancellation cannot be undone, so it needs Airflow's answer
            why = f"it is not known whether another task needs it: {describe_error(error)}."
            self.log.error("%s: %s %s", work, why, manual_cancel_advice(work))  # noqa: TRY400
            return
        # Logged first, because a triggerer that is stopped meanwhile logs nothing later.
        self.log.warning(
            "%s: the task was ended; cancelling what has not settled, for at most %.0f s. If the "
            "cancellation does not finish: %s",
            work,
            budget(work),
            work.command,
        )
        cancellation = await cancel(work)
        (self.log.info if cancellation.complete else self.log.error)(
            "%s: %s", cancellation.work, cancellation
        )


class ExtendWaitTrigger(CancellingTrigger):
    """Waits for runs without a worker slot.

    Reports a :class:`~extend_provider.batch.waiting.polling.PollResult`.

    :param extend_conn_id: connection to Extend.
    :param policy: how to wait, as keyword arguments of
        :class:`~extend_provider.batch.waiting.polling.WaitPolicy`.
    :param cancel_on_kill: cancel the runs that have not settled when the task is marked failed or success, or
        its DAG run is deleted, while it is deferred.
    """

    def __init__(self, *, extend_conn_id: str, policy: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.extend_conn_id = extend_conn_id
        self.policy = WaitPolicy(**policy)
        self._turn: Turn | None = None

    @property
    @abc.abstractmethod
    def work(self) -> RemoteWork:
        """What is waited for."""

    @property
    def requests(self) -> int:
        """How many requests the last poll took, or the first one takes."""
        return 1

    @abc.abstractmethod
    async def poll(self, hook: ExtendAsyncHook) -> BatchProgress:
        """Ask Extend once."""

    async def look(self, settings: ExtendSettings) -> InboxProgress | None:
        """Look into the connection's inbox of webhooks; None if it has none. Asks Extend nothing."""
        return None

    def complete(self, result: PollResult) -> PollResult:
        """Return the result of the wait with the additions of this trigger."""
        return result

    def arguments(self) -> dict[str, Any]:
        """Return the connection and the policy."""
        return {"extend_conn_id": self.extend_conn_id, "policy": self.policy.as_dict()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield exactly one event, at the earliest after :data:`EARLIEST_REPORT_SECONDS`."""
        begun = time.monotonic()
        try:
            result = await self._wait()
        except Exception as error:  # noqa: BLE001  # a trigger that raises fails its task without a reason
            # Only the frames: the text of an unexpected error may hold secrets.
            frames = "".join(traceback.format_tb(error.__traceback__))
            self.log.error("%s: %s\n%s", self.work, describe_error(error), frames)  # noqa: TRY400  # see above
            result = self.complete(InboxPoller(self.policy).give_up(error))
        await asyncio.sleep(max(begun + EARLIEST_REPORT_SECONDS - time.monotonic(), 0.0))
        yield TriggerEvent(result.as_event())  # type: ignore[no-untyped-call]  # Airflow leaves it untyped

    async def _wait(self) -> PollResult:
        poller = InboxPoller(self.policy)
        # The first import of the http provider is slow and would block the event loop.
        hooks = await asyncio.to_thread(importlib.import_module, "extend_provider.hooks.extend")
        display = TaskProgress(self.task_instance, self.log)
        # Its connection is looked up with the first poll, and with later ones while that fails.
        hook = hooks.ExtendAsyncHook(extend_conn_id=self.extend_conn_id)
        try:
            with watching():
                while True:
                    result = await self._look_or_poll(hook, poller)
                    if result.changed:
                        self._report(result, poller.shown, display)
                    if result.is_final:
                        await display.flush()
                        return self.complete(result)
                    await asyncio.sleep(result.delay)
        finally:
            if self._turn is not None:
                self._turn.leave()
            display.stop()
            await hook.close()

    async def settled_already(self) -> PollResult | None:
        """Look once, in a worker, before the wait begins; None unless every run is seen to have settled."""
        from extend_provider.hooks.extend import ExtendAsyncHook

        hook = ExtendAsyncHook(extend_conn_id=self.extend_conn_id, max_attempts=1)
        poller = InboxPoller(self.policy)
        try:
            async with asyncio.timeout(FIRST_LOOK_SECONDS), hook:
                looked = await self._look(hook, poller) if self.policy.by_webhooks else None
                result = looked or await self._poll(hook, poller)
        except Exception:  # noqa: BLE001  # the trigger asks again, and says what is wrong
            return None
        return self.complete(result) if result.outcome is Outcome.DONE else None

    async def poll_once(self) -> PollResult:
        """Ask Extend once, in a worker."""
        from extend_provider.hooks.extend import ExtendAsyncHook

        poller = InboxPoller(self.policy)
        try:
            async with ExtendAsyncHook(extend_conn_id=self.extend_conn_id) as hook:
                result = await self._poll(hook, poller)
        except Exception as error:  # noqa: BLE001  # as in the triggerer: a failure is a result
            result = poller.give_up(error)
        return self.complete(result)

    async def _look_or_poll(self, hook: ExtendAsyncHook, poller: InboxPoller) -> PollResult:
        """Look into the inbox if there is one; poll Extend if that is due all the same."""
        looked = await self._look(hook, poller) if self.policy.by_webhooks else None
        for note in poller.take_notes():
            self.log.warning("%s: %s", self.work, note)
        if looked is not None and (looked.is_final or not poller.is_poll_due(time.time())):
            return looked
        if looked is None:
            await self._take_turn(hook, poller)
        result = await self._poll(hook, poller)
        if self._turn is not None:
            self._turn.asked(result.delay, self.requests)
        return result

    async def _take_turn(self, hook: ExtendAsyncHook, poller: InboxPoller) -> None:
        """Wait until something can have happened and the other waits leave room; at most to the deadline."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                settings = await hook.get_settings()
        except Exception:  # noqa: BLE001  # the poll fails of it too, and says so
            return
        if self._turn is None:
            shared = shared_pace(settings)
            poller.pacer.experience = shared.experience
            first = poller.first_delay(
                now=time.time(), soonest=EARLIEST_REPORT_SECONDS, is_crowded=shared.budget.stretch() > 1
            )
            self._turn = shared.budget.join(first, self.requests, chance=random.random())  # noqa: S311  # jitter
        while (wait := min(self._turn.wait(), self.policy.deadline - time.time())) > 0:
            await asyncio.sleep(wait)

    async def _look(self, hook: ExtendAsyncHook, poller: InboxPoller) -> PollResult | None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                settings = await hook.get_settings()
        except Exception:  # noqa: BLE001  # the poll fails of it too, and says so
            return None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                arrived = await self.look(settings)
        except Exception as error:  # noqa: BLE001  # of whatever store there is; Extend is polled instead
            poller.unreadable(error)
            return None
        if arrived is None:
            return None
        return poller.looked(arrived, now=time.time(), waits=open_waits())

    async def _poll(self, hook: ExtendAsyncHook, poller: InboxPoller) -> PollResult:
        remaining = max(self.policy.deadline - time.time(), 0.0)
        failure: Exception
        try:
            async with asyncio.timeout(remaining + LAST_POLL_SECONDS):
                await hook.get_settings()
                progress = await self.poll(hook)
        except TimeoutError:
            failure = ExtendConnectionError("Extend's answer did not arrive in time.", retryable=True)
        except Exception as error:  # noqa: BLE001  # the poller decides whether it is final
            failure = error
        else:
            return poller.polled(progress, now=time.time())
        result = poller.failed(failure, now=time.time())
        self.log.warning("%s: %s", self.work, result.message)
        return result

    def _report(self, result: PollResult, progress: BatchProgress | None, display: TaskProgress) -> None:
        if result.outcome in {Outcome.WAIT, Outcome.DONE, Outcome.RUNS_MISSING}:
            self.log.info("%s: %s", self.work, result.message)
        if progress is None:
            return
        for warning in progress.warnings:
            self.log.warning("%s: %s", self.work, warning)
        display.show(**{PROGRESS_KEY: progress.as_dict()})
        if progress.dashboard_url:
            display.show(**{DASHBOARD_URL_KEY: progress.dashboard_url})
