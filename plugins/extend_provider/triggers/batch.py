"""Waits for a batch without a worker slot."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from extend_provider.batch.cancellation import RemoteWork
from extend_provider.batch.waiting.polling import PollResult
from extend_provider.batch.waiting.progress import BatchProgress, InboxProgress, RunCounter
from extend_provider.triggers.base import ExtendWaitTrigger
from extend_provider.triggers.looking import InboxLook, in_look_thread

if TYPE_CHECKING:
    from extend_provider.client.settings import ExtendSettings
    from extend_provider.hooks.extend import ExtendAsyncHook


class ExtendBatchTrigger(ExtendWaitTrigger):
    """Looks into the inbox, and lists the batch's runs, until as many as were submitted have settled.

    Extend has no status of a workflow batch; listing its runs is the documented way to follow it.

    :param batch_id: the batch.
    :param run_count: how many runs were submitted.
    :param followers: the folder with a file for each task that needs the batch, see
        :mod:`extend_provider.batch.ownership`; None: only this task needs it. Stored under this name with
        deferred tasks.
    :param options: see :class:`~extend_provider.triggers.base.ExtendWaitTrigger`.
    """

    def __init__(
        self, *, batch_id: str, run_count: int, followers: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.batch_id = batch_id
        self.run_count = run_count
        self.waiters = followers
        self._inbox = InboxLook(batch_id, run_count)
        self._pages = 1

    @property
    def requests(self) -> int:
        """The pages of the last list."""
        return self._pages

    @property
    def work(self) -> RemoteWork:
        """The batch."""
        return RemoteWork(self.extend_conn_id, self.batch_id, self.run_count, waiters=self.waiters)

    def complete(self, result: PollResult) -> PollResult:
        """Add the batch and the policy, so that the task can continue with another batch."""
        return dataclasses.replace(result, batch_id=self.batch_id, policy=self.policy.as_dict())

    def arguments(self) -> dict[str, Any]:
        """Return the batch's id and size, and the folder of its waiters."""
        batch = {"batch_id": self.batch_id, "run_count": self.run_count, "followers": self.waiters}
        return {**super().arguments(), **batch}

    async def poll(self, hook: ExtendAsyncHook) -> BatchProgress:
        """List the batch once, page by page."""
        counter, pages = RunCounter(self.run_count), 0
        async for page in hook.iter_run_pages(batch_id=self.batch_id):
            counter.add(page)
            pages += 1
        self._pages = pages
        return counter.progress()

    async def look(self, settings: ExtendSettings) -> InboxProgress | None:
        """Count the runs of which a webhook has arrived."""
        if settings.webhook_inbox is None:
            return None
        return await in_look_thread(lambda: self._inbox.progress(settings))
