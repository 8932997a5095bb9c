"""Runs and files in memory, with indexes that keep a page of a listing cheap among 100,000 runs.

Everything runs on one event loop, so there are no locks.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, Literal, TypeVar

from sandbox.extend_api.state.model import Run, StoredFile, now_ms

SortBy = Literal["createdAt", "updatedAt"]


class Order:
    """Sequence numbers in ascending order; new ones are added at the end, any may be removed."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: list[int] = []

    def append(self, key: int) -> None:
        """Add a key that is larger than all others."""
        self._keys.append(key)

    def remove(self, key: int) -> None:
        """Remove a key that is in the order."""
        del self._keys[bisect.bisect_left(self._keys, key)]

    def walk(self, *, ascending: bool, after: int | None) -> Iterator[int]:
        """Yield the keys after ``after`` in the given direction."""
        if ascending:
            start = 0 if after is None else bisect.bisect_right(self._keys, after)
            places = range(start, len(self._keys))
        else:
            stop = len(self._keys) if after is None else bisect.bisect_left(self._keys, after)
            places = range(stop - 1, -1, -1)
        return (self._keys[place] for place in places)

    def __len__(self) -> int:
        return len(self._keys)


class _Index:
    """Both orders of one group of runs (all, one batch's, one workflow's)."""

    __slots__ = ("created", "updated")

    def __init__(self) -> None:
        self.created = Order()
        self.updated = Order()


@dataclasses.dataclass(frozen=True, slots=True)
class RunQuery:
    """The query of a listing of runs; the fields are the API's query parameters."""

    status: str | None = None
    workflow_id: str | None = None
    batch_id: str | None = None
    file_name_contains: str | None = None
    sort_by: SortBy = "updatedAt"
    ascending: bool = False

    def matches(self, run: Run) -> bool:
        """Return True if the query selects ``run``."""
        return (
            (self.status is None or run.status == self.status)
            and (self.workflow_id is None or run.workflow.id == self.workflow_id)
            and (self.batch_id is None or run.batch_id == self.batch_id)
            and (
                self.file_name_contains is None
                or any(self.file_name_contains in file.name for file in run.files)
            )
        )


Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page: its items, and the position after which the next page begins (None at the end)."""

    items: list[Item]
    next_position: int | None


class Store:
    """All runs and files of the workspace; :meth:`touch` must follow every change of a run.

    :param on_status: called with a run that has got a new status.
    """

    def __init__(self, on_status: Callable[[Run], None] = lambda _: None) -> None:
        self._on_status = on_status
        self.folder = Path(tempfile.mkdtemp(prefix="extend-emulator-"))
        self.clear()

    def clear(self) -> None:
        """Remove all runs and files, including their bytes."""
        self.runs: dict[str, Run] = {}
        self.files: dict[str, StoredFile] = {}
        self.deleted: set[str] = set()
        self.attempts: collections.Counter[str] = collections.Counter()
        self.by_status: collections.Counter[str] = collections.Counter()
        self._status_of: dict[str, str] = {}
        self._sequence = itertools.count(1)
        self._by_created: dict[int, Run] = {}
        self._by_updated: dict[int, Run] = {}
        self._all = _Index()
        self._batches: dict[str, _Index] = {}
        self._workflows: dict[str, _Index] = {}
        self._file_order: list[str] = []
        for path in self.folder.iterdir():
            path.unlink()

    def close(self) -> None:
        """Remove the files on disk."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_runs(self, runs: Iterable[Run]) -> None:
        """Add new runs, in this order."""
        for run in runs:
            self.runs[run.id] = run
            run.created_seq = next(self._sequence)
            self._by_created[run.created_seq] = run
            for index in self._indexes(run):
                index.created.append(run.created_seq)
            self._place(run)

    def touch(self, run: Run) -> None:
        """Record a change of ``run``: it becomes the last updated run."""
        if run.id not in self.runs:
            return
        is_new = self._status_of[run.id] != run.status
        self._displace(run)
        run.updated_at = max(run.updated_at, now_ms())
        self._place(run)
        if is_new:
            self._on_status(run)

    def delete_run(self, run: Run) -> None:
        """Remove ``run`` and record its id as deleted."""
        self._displace(run)
        for index in self._indexes(run):
            index.created.remove(run.created_seq)
        del self._by_created[run.created_seq], self.runs[run.id]
        self.deleted.add(run.id)

    def page(self, query: RunQuery, size: int, after: int | None) -> Page[Run]:
        """Return up to ``size`` matching listable runs after the position ``after``."""
        moment = now_ms()
        found: list[Run] = []
        for run in self._walk(query, after):
            if run.listable_at <= moment and query.matches(run):
                if len(found) == size:
                    return Page(found, position(found[-1], query.sort_by))
                found.append(run)
        return Page(found, None)

    def batch(self, batch_id: str) -> list[Run]:
        """Return all runs of a batch, listable or not; empty for an unknown batch."""
        index = self._batches.get(batch_id)
        keys = index.created.walk(ascending=True, after=None) if index else ()
        return [self._by_created[key] for key in keys]

    def add_file(self, file: StoredFile) -> None:
        """Add a file unless it is already stored."""
        if file.id not in self.files:
            self.files[file.id] = file
            self._file_order.append(file.id)

    def delete_file(self, file: StoredFile) -> None:
        """Remove a file and its bytes."""
        del self.files[file.id]
        if isinstance(file.content, Path):
            file.content.unlink(missing_ok=True)

    def file_page(
        self, name_contains: str | None, size: int, after: int | None, *, ascending: bool
    ) -> Page[StoredFile]:
        """Return up to ``size`` files in order of creation; a position is an index in that order."""
        total = len(self._file_order)
        if ascending:
            indexes = range(0 if after is None else after + 1, total)
        else:
            indexes = range((total if after is None else after) - 1, -1, -1)
        found: list[StoredFile] = []
        last = 0
        for index in indexes:
            file = self.files.get(self._file_order[index])
            if file is not None and (name_contains is None or name_contains in file.name):
                if len(found) == size:
                    return Page(found, last)
                found.append(file)
                last = index
        return Page(found, None)

    def _walk(self, query: RunQuery, after: int | None) -> Iterator[Run]:
        if query.batch_id is not None:
            index = self._batches.get(query.batch_id)
        elif query.workflow_id is not None:
            index = self._workflows.get(query.workflow_id)
        else:
            index = self._all
        if index is None:
            return iter(())
        order, runs = (
            (index.created, self._by_created)
            if query.sort_by == "createdAt"
            else (index.updated, self._by_updated)
        )
        return (runs[key] for key in order.walk(ascending=query.ascending, after=after))

    def _indexes(self, run: Run) -> Iterator[_Index]:
        yield self._all
        yield self._workflows.setdefault(run.workflow.id, _Index())
        if run.batch_id is not None:
            yield self._batches.setdefault(run.batch_id, _Index())

    def _place(self, run: Run) -> None:
        run.updated_seq = next(self._sequence)
        self._by_updated[run.updated_seq] = run
        for index in self._indexes(run):
            index.updated.append(run.updated_seq)
        self._status_of[run.id] = run.status
        self.by_status[run.status] += 1

    def _displace(self, run: Run) -> None:
        del self._by_updated[run.updated_seq]
        for index in self._indexes(run):
            index.updated.remove(run.updated_seq)
        self.by_status[self._status_of.pop(run.id)] -= 1


def position(run: Run, sort_by: SortBy) -> int:
    """Return the position of ``run`` in an order."""
    return run.created_seq if sort_by == "createdAt" else run.updated_seq
