"""Waits for single workflow runs without a worker slot."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.waiting.polling import PollResult
from extend_provider.batch.waiting.progress import BatchProgress, RunRecords
from extend_provider.triggers.base import ExtendWaitTrigger

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendAsyncHook


class ExtendRunTrigger(ExtendWaitTrigger):
    """Fetches each run that has not settled, by its id.

    :param runs: the records of the runs, see :class:`~extend_provider.batch.waiting.progress.RunRecords`.
    :param options: see :class:`~extend_provider.triggers.base.ExtendWaitTrigger`.
    """

    def __init__(self, *, runs: list[dict[str, Any]], **options: Any) -> None:
        super().__init__(**options)
        self.runs = runs
        self._records = RunRecords(runs)

    @property
    def work(self) -> RemoteWork:
        """The runs."""
        return RemoteWork(self.extend_conn_id, run_ids=tuple(record["id"] for record in self.runs))

    def arguments(self) -> dict[str, Any]:
        """Return the runs as they were when the wait began."""
        return {**super().arguments(), "runs": self.runs}

    @property
    def requests(self) -> int:
        """A request for each run that has not settled."""
        return len(self._records.unsettled(self.policy.on_needs_review))

    async def poll(self, hook: ExtendAsyncHook) -> BatchProgress:
        """Fetch every run that has not settled."""
        for run_id in self._records.unsettled(self.policy.on_needs_review):
            self._records.take(await hook.get_run(run_id))
        return self._records.progress()

    def complete(self, result: PollResult) -> PollResult:
        """Return the end together with the runs as they are now."""
        return dataclasses.replace(result, runs=self._records.records)
