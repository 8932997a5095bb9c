"""Waits for single workflow runs without a worker slot."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.polling import BatchProgress, FollowedRuns
from extend_provider.batch.waiting import Ended
from extend_provider.triggers.base import ExtendWaitTrigger

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook


class ExtendRunTrigger(ExtendWaitTrigger):
    """Asks for each run that has not settled, by its id.

    :param runs: the records of the runs, see :class:`~extend_provider.batch.polling.FollowedRuns`.
    :param options: see :class:`~extend_provider.triggers.base.ExtendWaitTrigger`.
    """

    def __init__(self, *, runs: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(**options)
        self.runs = runs
        self._followed = FollowedRuns(runs)

    @property
    def work(self) -> RemoteWork:
        """The runs."""
        return RemoteWork(self.extend_conn_id, run_ids=tuple(record["id"] for record in self.runs))

    def arguments(self) -> dict[str, Any]:
        """Return the runs as they were when the wait began."""
        return {"runs": self.runs}

    async def look(self, hook: ExtendAsyncHook) -> BatchProgress:
        """Ask for every run that has not settled."""
        for run_id in self._followed.unsettled(self.policy.on_needs_review):
            self._followed.take(await hook.get_run(run_id))
        return self._followed.progress()

    def report(self, ended: Ended) -> Ended:
        """Return the end together with the runs as they are now."""
        return dataclasses.replace(ended, runs=self._followed.records)
