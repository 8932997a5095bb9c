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
    """Lets a submission go on at a moment; its event is the state that the task gave it.

    Extend is asked nothing meanwhile. If the task is ended, and there may be a batch, it is looked for until
    it is cancelled or proven not to be there; a task that is cleared finds in the ledger what it needs.

    :param at: seconds since the epoch.
    :param state: plain JSON.
    :param work: what may be at Extend, see :meth:`~extend_provider.batch.cancellation.RemoteWork.to_json`;
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
        """The batch that there may be."""
        return self._work

    def arguments(self) -> dict[str, Any]:
        """Return the moment, the state, and the batch that there may be."""
        work = None if self._work is None else self._work.to_json()
        return {"at": self.at, "state": self.state, "work": work}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, but not too short, and yield the state."""
        if self._work is not None:
            self.log.info("%s: searched for again later; until then without a worker.", self._work)
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
    """Give the worker slot back until a submission can go on.

    ``execution_timeout`` bounds the attempt, however often it is deferred.

    :param ti: the task instance.
    :param method: of the task; called then with an event that has ``turned_away`` and ``state``.
    :param cancel_on_kill: cancel what may be at Extend if the task is ended meanwhile.
    """
    task.log.info("Going on at %s, without a worker until then.", retry.at.isoformat(timespec="seconds"))
    timeout: dt.timedelta | None = task.execution_timeout
    if timeout is not None:
        timeout = max(ti.start_date + timeout - dt.datetime.now(dt.UTC), dt.timedelta())
    if retry.work is not None:
        task.log.info("If the task is ended where no triggerer notices: %s", retry.work.command)
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
