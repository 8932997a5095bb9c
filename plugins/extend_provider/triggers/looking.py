"""Looks into the inbox of webhooks: what they cost a process is bounded, however many waits it has.

A look lists a folder of an object storage, which blocks. The triggers take it in a few threads of their own,
so that a slow store holds up neither the event loop nor what else the triggerer does in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from extend_provider.batch.waiting.progress import InboxProgress

if TYPE_CHECKING:
    from extend_provider.client.settings import ExtendSettings
    from extend_provider.webhooks.inbox.store import Arrived, Inbox

T = TypeVar("T")

#: Seconds after which a look counts as failed.
LOOK_SECONDS: Final = 60.0
#: Looks taken at the same time in one process.
_THREADS: Final = ThreadPoolExecutor(4, thread_name_prefix="extend-inbox")
_open_waits = 0


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Count a wait for the block, see :func:`open_waits`. Only for the event loop's thread."""
    global _open_waits  # the waits of one process share its looks
    _open_waits += 1
    try:
        yield
    finally:
        _open_waits -= 1


def open_waits() -> int:
    """Return how many waits of this process there are."""
    return _open_waits


async def in_look_thread(look: Callable[[], T]) -> T:
    """Take a look in a thread; one that has not begun is given up with the caller."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, look)


class InboxLook:
    """Counts the runs of a batch of which a webhook has arrived.

    :param run_count: how many were submitted.
    """

    def __init__(self, batch_id: str, run_count: int) -> None:
        self._batch_id = batch_id
        self._run_count = run_count
        self._inbox: Inbox | None = None
        self._dashboard_url: str | None = None

    def progress(self, settings: ExtendSettings) -> InboxProgress | None:
        """Return the counts, by one listing; None if the connection has no inbox. Blocks.

        What is on the connection's queue is brought into the inbox before.

        :raises Exception: whatever the store raises.
        """
        if settings.webhook_inbox is None:
            return None
        from extend_provider.webhooks.inbox.store import Inbox
        from extend_provider.webhooks.queue import drain

        drain(settings)
        self._inbox = self._inbox or Inbox(settings.webhook_inbox)
        arrived = self._inbox.arrived(self._batch_id)
        if arrived and self._dashboard_url is None:
            self._dashboard_url = self._page_of(self._inbox, next(iter(arrived.values())))
        statuses = Counter(run.status for run in arrived.values())
        return InboxProgress(self._run_count, statuses, self._dashboard_url or None)

    def _page_of(self, inbox: Inbox, arrived: Arrived) -> str:
        """Return the page of one run, empty if it cannot be read; only listings show the others'."""
        with contextlib.suppress(Exception):
            return inbox.read(self._batch_id, arrived).run.dashboard_url or ""
        return ""
