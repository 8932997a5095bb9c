"""What all triggers share that have work at Extend: it is cancelled when their task is ended.

A kill that only hands the task on, to its next attempt or another triggerer, cancels nothing.
"""

from __future__ import annotations

import asyncio

from airflow.triggers.base import BaseTrigger

from extend_provider.batch.cancellation import RemoteWork, budget, cancel
from extend_provider.batch.on_kill import left_alone, outlast, stays
from extend_provider.security import describe_error


class CancellingTrigger(BaseTrigger):
    """Cancels its work when its task was ended; outlasts the triggerer, which repeats its cancellation.

    :param cancel_on_kill: whether it does.
    :param owner: the mark of the process that has deferred the task, see
        :mod:`extend_provider.batch.ownership`.
    """

    def __init__(self, *, cancel_on_kill: bool = True, owner: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow leaves it untyped
        self.cancel_on_kill = cancel_on_kill
        self.owner = owner
        self._release: asyncio.Task[None] | None = None

    @property
    def work(self) -> RemoteWork | None:
        """What is, or may be, at Extend."""
        raise NotImplementedError

    async def on_kill(self) -> None:
        """Cancel the work if the task was ended; not if it was cleared or moved to another triggerer."""
        if self.cancel_on_kill and self.work is not None:
            self._release = asyncio.ensure_future(self._give_back(self.work))
            await outlast(self._release)

    async def cleanup(self) -> None:
        """Wait for a cancellation under way, which keeps the task's log open for what it has to say."""
        if self._release is not None:
            await outlast(self._release)

    async def _give_back(self, work: RemoteWork) -> None:
        try:
            if await asyncio.to_thread(stays, work, self.task_instance, self.owner, self.log):
                return
        except Exception as error:  # noqa: BLE001  # Airflow's answer is needed, and cancelling is for good
            why = f"whether anybody still waits for it could not be found out: {describe_error(error)}."
            self.log.error("%s: %s %s", work, why, left_alone(work))  # noqa: TRY400
            return
        # Said first, because a triggerer that is stopped meanwhile says nothing more.
        self.log.warning(
            "%s: the task was ended; cancelling what has not settled, for at most %.0f s. Should that not "
            "get to its end: %s",
            work,
            budget(work),
            work.command,
        )
        outcome = await cancel(work)
        (self.log.info if outcome.complete else self.log.error)("%s: %s", outcome.work, outcome)
