"""Waits until a submission can go on, without a worker slot."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.triggers.base import TriggerEvent

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.triggers import base
from extend_provider.triggers.base import CancellingTrigger

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from extend_provider.batch.submission import RetryAt


class ExtendSubmissionTrigger(CancellingTrigger):
    """Continues a submission at a given time; its event is the state that the task gave it.

    It sends no request meanwhile. If the task is ended and a batch may exist, the batch is searched for until
    it is cancelled or its absence is proven. A task that is cleared continues from the ledger.

    :param at: when to continue, in seconds since the epoch.
    :param state: plain JSON.
    :param work: what may exist at Extend, see :meth:`~extend_provider.batch.cancellation.RemoteWork.to_json`;
        None: nothing.
    """

    def __init__(
        self, *, at: float, state: dict[str, Any], work: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.at = at
        self.state = state
        self._work = None if work is None else RemoteWork.from_json(work)

    @property
    def work(self) -> RemoteWork | None:
        """The batch that may exist."""
        return self._work

    def arguments(self) -> dict[str, Any]:
        """Return the time, the state, and the batch that may exist."""
        work = None if self._work is None else self._work.to_json()
        return {"at": self.at, "state": self.state, "work": work}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, at least :data:`~extend_provider.triggers.base.EARLIEST_REPORT_SECONDS`; yield the state."""
        if self._work is not None:
            self.log.info("%s: the next search is later; until then without a worker.", self._work)
        await asyncio.sleep(max(self.at - time.time(), base.EARLIEST_REPORT_SECONDS))
        yield TriggerEvent(self.state)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped


def defer_until(
    task: BaseOperator,
    retry: RetryAt,
    method: Callable[..., Any],
    ti: Any,
    *,
    cancel_on_kill: bool,
    **state: Any,
) -> NoReturn:
    """Defer the task until a submission can continue.

    ``execution_timeout`` bounds the attempt, however often it is deferred.

    :param ti: the task instance.
    :param method: of the task; called with an event that has ``turned_away``, the number of failed attempts,
        and ``state``.
    :param cancel_on_kill: cancel what may exist at Extend if the task is ended meanwhile.
    """
    task.log.info("Continuing at %s, without a worker until then.", retry.at.isoformat(timespec="seconds"))
    timeout: dt.timedelta | None = task.execution_timeout
    if timeout is not None:
        timeout = max(ti.start_date + timeout - dt.datetime.now(dt.UTC), dt.timedelta())
    if retry.work is not None:
        task.log.info("If the task is ended while no triggerer runs: %s", retry.work.command)
    task.defer(
        trigger=ExtendSubmissionTrigger(
            at=retry.at.timestamp(),
            state={"turned_away": retry.failed_attempts, **state},
            work=None if retry.work is None else retry.work.to_json(),
            cancel_on_kill=cancel_on_kill,
        ),
        method_name=method.__name__,
        timeout=timeout,
    )
    raise AssertionError("defer() raises")
