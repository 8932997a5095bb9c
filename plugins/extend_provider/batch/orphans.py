"""Finding an orphan: the batch, or the single runs, of a submission whose answer was lost.

Extend takes no idempotency key and answers a batch submission with its id alone. What can be read later is
the list of the workflow's runs, newest first, and the metadata of each run. So a submission writes an
idempotency key of its own into the metadata of every input, and an orphan is found by that key.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from extend_provider.batch.waiting.progress import CANCELLED_STATUSES, RunCounter
from extend_provider.client.models import RunSummary, utc_moment
from extend_provider.exceptions import ExtendError, ExtendServerError

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendHook
    from extend_provider.hooks.extend_async import ExtendAsyncHook

_GONE = {404, 410}
#: How far Extend's clock may be behind ours.
CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclasses.dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """What identifies a submission in its runs' metadata: by key, the value's text, ``*`` for anything."""

    patterns: Mapping[str, str]

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Return True if a run with this metadata belongs to the submission."""
        return all(
            key in metadata and fnmatchcase(str(metadata[key]), pattern)
            for key, pattern in self.patterns.items()
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Orphan:
    """What a submission with an unknown answer may have created: a batch, or single runs.

    :param runs: how many single runs it would have created; None: a batch.
    :param since: when the submission was about to be made, RFC 3339 with offset.
    :param until: what is not listed after this time does not exist; RFC 3339 with offset.
    """

    workflow_id: str
    key: IdempotencyKey
    since: str
    until: str
    runs: int | None = None

    @property
    def not_before(self) -> dt.datetime:
        """When the submission was about to be made."""
        return utc_moment(self.since)

    @property
    def proven_from(self) -> dt.datetime:
        """From when its absence from the list proves that it does not exist."""
        return utc_moment(self.until)


@dataclasses.dataclass(frozen=True, slots=True)
class FoundBatch:
    """A batch whose runs carry the idempotency key, and the metadata of the run that was fetched.

    :param batch_id: its id; of single runs their ids, the oldest first, with a comma between them.
    """

    batch_id: str
    metadata: Mapping[str, Any]


class _Search:
    """One search: which runs to fetch, and when it is over. Pure; the caller sends the requests.

    The list has no metadata, so one run of each batch created since the submission is fetched, or every
    single run: the cost is one request per 1,000 listed runs and one per batch or single run. A list that
    ends before older runs may have been cut short, so its end is compared with the workflow's first run. An
    empty list may be that of another workspace, so the workflow itself is requested.

    :ivar empty: no run was listed.
    """

    def __init__(self, orphan: Orphan) -> None:
        self._orphan = orphan
        self._seen: set[str] = set()
        self._runs: list[tuple[str, Mapping[str, Any]]] = []
        # What is not listed now does not exist.
        self._proves_absence = dt.datetime.now(dt.UTC) >= orphan.proven_from
        self._oldest: dt.datetime | None = None
        self._past = False
        self._complete: FoundBatch | None = None
        self.empty = True

    @property
    def over(self) -> bool:
        """Whether all of it is found, or the rest of the list is older than the submission."""
        return self._past or self._complete is not None

    @property
    def listing(self) -> dict[str, Any]:
        """What to list."""
        return {"workflow_id": self._orphan.workflow_id, "sort_by": "createdAt", "sort_dir": "desc"}

    @property
    def beginning(self) -> dict[str, Any]:
        """What to list to see the workflow's first run."""
        return {**self.listing, "sort_dir": "asc", "page_size": 1}

    def candidates(self, page: Iterable[RunSummary]) -> Iterator[tuple[str, str]]:
        """Yield (batch id, run id) of each new batch; for a single run, (run id, run id)."""
        limit = self._orphan.not_before - CLOCK_SKEW
        # To the page's end: the runs of a page may come in any order.
        for run in page:
            self.empty = False
            created = None if run.created_at is None else utc_moment(run.created_at)
            if created is not None:
                self._oldest = created if self._oldest is None else min(self._oldest, created)
                if created < limit:
                    self._past = True
                    continue
            if (run.batch_id is None) != (self._orphan.runs is not None):
                continue
            found = run.batch_id or run.id
            if found not in self._seen:
                self._seen.add(found)
                yield found, run.id
                if self._complete:
                    return

    def add(self, batch_id: str, metadata: Mapping[str, Any]) -> None:
        """Add a fetched run."""
        if not self._orphan.key.matches(metadata):
            return
        if self._orphan.runs is None:
            self._complete = FoundBatch(batch_id, metadata)
            return
        self._runs.append((batch_id, metadata))
        if len(self._runs) == self._orphan.runs:
            self._complete = self._single_runs()

    def found(self) -> FoundBatch | None:
        """Return what was submitted, or the single runs that are left if the others were deleted.

        Extend accepted the whole request if one of its runs exists.
        """
        left = self._single_runs() if self._runs and self._proves_absence else None
        return self._complete or left

    def _single_runs(self) -> FoundBatch:
        return FoundBatch(",".join(run_id for run_id, _ in reversed(self._runs)), self._runs[0][1])

    @contextlib.contextmanager
    def skipping_deleted(self, batch_id: str) -> Iterator[None]:
        """Go on if the run was deleted after it was listed; another run of its batch may still exist."""
        try:
            yield
        except ExtendError as error:
            if error.status not in _GONE:
                raise
            self._seen.discard(batch_id)

    def check_end(self, first: Iterable[RunSummary]) -> None:
        """Check that the list is complete.

        :param first: the workflow's first run, or nothing.
        :raises ExtendServerError: the list ended too early.
        """
        for run in first:
            created = None if run.created_at is None else utc_moment(run.created_at)
            if self._oldest is not None and created is not None and created < self._oldest:
                raise ExtendServerError(
                    f"Extend's list of the runs of workflow {self._orphan.workflow_id} ends before its first "
                    "run, so it is incomplete and proves nothing.",
                    retryable=True,
                )


def find_orphan(hook: ExtendHook, orphan: Orphan) -> FoundBatch | None:
    """Return what the submission created; None if nothing of it is listed.

    Runs may be listed only some time after the submission, so None shortly after it proves nothing.

    :raises ExtendError: the list could not be read to its end.
    """
    search = _Search(orphan)
    for page in hook.iter_run_pages(**search.listing):
        for batch_id, run_id in search.candidates(page):
            with search.skipping_deleted(batch_id):
                search.add(batch_id, hook.get_run(run_id).metadata)
        if search.over:
            return search.found()
    if search.empty:
        hook.check_workflow(orphan.workflow_id)
    else:
        search.check_end(next(iter(hook.iter_run_pages(**search.beginning)), ()))
    return search.found()


async def find_orphan_async(hook: ExtendAsyncHook, orphan: Orphan) -> FoundBatch | None:
    """Do the same as :func:`find_orphan`, without blocking."""
    search = _Search(orphan)
    async for page in hook.iter_run_pages(**search.listing):
        for batch_id, run_id in search.candidates(page):
            with search.skipping_deleted(batch_id):
                search.add(batch_id, (await hook.get_run(run_id)).metadata)
        if search.over:
            return search.found()
    if search.empty:
        await hook.check_workflow(orphan.workflow_id)
    else:
        async with contextlib.aclosing(hook.iter_run_pages(**search.beginning)) as pages:
            search.check_end(await anext(pages, []))
    return search.found()


def was_cancelled(hook: ExtendHook, batch_id: str, run_count: int) -> bool:
    """Return True if each of a batch's runs was cancelled, so that it never has a result."""
    counter = RunCounter(run_count)
    for page in hook.iter_run_pages(batch_id=batch_id):
        counter.add(page)
    progress = counter.progress()
    return progress.listed >= run_count and set(progress.by_status) <= CANCELLED_STATUSES
