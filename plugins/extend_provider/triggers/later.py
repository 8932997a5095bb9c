"""Waits for a moment without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.triggers.base import BaseTrigger, TriggerEvent

from extend_provider.triggers import base

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from extend_provider.submission import Later


class ExtendLaterTrigger(BaseTrigger):
    """Lets a submission go on at a moment; its event is what the task told it.

    Extend is asked nothing meanwhile, and whatever ends the wait cancels nothing: there may be no batch. What
    is in the ledger is enough for whoever comes next.

    :param at: seconds since the epoch.
    :param state: plain JSON.
    """

    def __init__(self, *, at: float, state: dict[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.at = at
        self.state = state

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, all of them plain JSON."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {"at": self.at, "state": self.state}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep, but not too short, and yield what was told."""
        await asyncio.sleep(max(self.at - time.time(), base.EARLIEST_REPORT_SECONDS))
        yield TriggerEvent(self.state)  # type: ignore[no-untyped-call]  # Airflow leaves it untyped


def defer_until(task: BaseOperator, later: Later, method: Callable[..., Any], **state: Any) -> NoReturn:
    """Give the worker slot back until a submission can go on.

    :param method: of the task; called then with an event that has ``turned_away`` and ``state``.
    """
    task.log.info("Going on at %s, without a worker until then.", later.at.isoformat(timespec="seconds"))
    task.defer(
        trigger=ExtendLaterTrigger(
            at=later.at.timestamp(), state={"turned_away": later.turned_away, **state}
        ),
        method_name=method.__name__,
        timeout=task.execution_timeout,
    )
    raise AssertionError("defer() raises")
