"""The progress of a set of runs: distinct runs counted by status, and how many of them may fail. Pure.

Invariants: done means counted (as many distinct runs are listed as were submitted, and each one has
settled); an unknown status counts as not settled.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, get_args

from extend_provider.batch.waiting.timing import Clock, Timing
from extend_provider.client.models import RunStatus, RunSummary, WorkflowRun

#: What a run that waits for a human reviewer means: it counts as settled, with its result so far ("land");
#: the wait continues until the reviewer has decided ("wait"), or the task fails once everything else
#: has settled ("fail").
OnNeedsReview = Literal["land", "wait", "fail"]
ON_NEEDS_REVIEW: tuple[str, ...] = get_args(OnNeedsReview)

#: Extend has finished its own work on a run with one of these (SDK 1.20.0, create_and_poll); only a reviewer
#: changes them.
SETTLED_STATUSES = frozenset(
    {
        RunStatus.PROCESSED,
        RunStatus.FAILED,
        RunStatus.REJECTED,
        RunStatus.CANCELLED,
        RunStatus.NEEDS_REVIEW,
    }
)
#: Settled, and without a result.
FAILED_STATUSES = frozenset({RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED})
#: A run with one of these has no result and gets none.
CANCELLED_STATUSES = frozenset({RunStatus.CANCELLED, RunStatus.CANCELLING})
IN_FLIGHT_STATUSES = frozenset({RunStatus.PENDING, RunStatus.PROCESSING, RunStatus.CANCELLING})


@dataclasses.dataclass(frozen=True, slots=True)
class BatchProgress:
    """Distinct runs counted by status at one moment.

    :param expected: how many runs were submitted.
    :param by_status: number of distinct runs per status, as Extend spells it.
    :param dashboard_url: page of the first run listed; Extend documents none for a batch.
    :param timing: when runs of the batch ended; None if none has, or if that is not known.
    """

    expected: int
    by_status: Mapping[str, int]
    dashboard_url: str | None = dataclasses.field(default=None, compare=False)
    timing: Timing | None = dataclasses.field(default=None, compare=False)
    #: What a person reads of the runs that are not among those counted; None: nothing.
    absent: ClassVar[str | None] = "not listed yet"

    @property
    def listed(self) -> int:
        """Number of distinct runs listed."""
        return sum(self.by_status.values())

    @property
    def settled(self) -> int:
        """Number of runs on which Extend has finished its own work, including those in review."""
        return sum(count for status, count in self.by_status.items() if status in SETTLED_STATUSES)

    @property
    def in_review(self) -> int:
        """Number of runs that wait for a human reviewer."""
        return self.by_status.get(RunStatus.NEEDS_REVIEW, 0)

    @property
    def complete(self) -> bool:
        """Return True if every submitted run is listed and every listed run has settled."""
        return self.listed >= self.expected and self.settled == self.listed

    @property
    def only_missing(self) -> bool:
        """Return True if runs are missing from the list and every listed one has settled."""
        return self.listed < self.expected and self.settled == self.listed

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know although it does not stop the wait."""
        found = []
        for status, count in sorted(self.by_status.items()):
            if status not in SETTLED_STATUSES and status not in IN_FLIGHT_STATUSES:
                found.append(f"{count:,} in the unknown status {status!r}, which counts as not settled")
        if self.listed > self.expected:
            found.append(f"{self.listed:,} runs are listed although {self.expected:,} were submitted")
        return tuple(found)

    def __str__(self) -> str:
        """The progress in a sentence for a person: ``812 of 1,000 settled, 3 failed, 2 in review``."""
        parts = [f"{self.settled:,} of {self.expected:,} settled"]
        named = {
            RunStatus.FAILED: "failed",
            RunStatus.NEEDS_REVIEW: "in review",
            RunStatus.REJECTED: "rejected",
            RunStatus.CANCELLED: "cancelled",
        }
        parts += [
            f"{count:,} {word}" for status, word in named.items() if (count := self.by_status.get(status))
        ]
        if self.listed < self.expected and self.absent is not None:
            parts.append(f"{self.expected - self.listed:,} {self.absent}")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain JSON values, small whatever the size of the batch."""
        return {
            "summary": str(self),
            "expected": self.expected,
            "listed": self.listed,
            "settled": self.settled,
            "by_status": dict(sorted(self.by_status.items())),
        }


@dataclasses.dataclass(frozen=True, slots=True)
class InboxProgress(BatchProgress):
    """Distinct runs of which a webhook has arrived. It says nothing about the other runs."""

    absent: ClassVar[str | None] = None

    @property
    def only_missing(self) -> bool:
        """Return False: a run without a webhook is at work, or its webhook is late or lost."""
        return False


class RunCounter:
    """Counts distinct runs over the pages of one listing, in about a hundred bytes a run.

    A listing sorted by creation may show a run twice or reorder runs between pages; what was seen last is
    freshest and wins.

    :param expected: how many runs were submitted.
    """

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._status_by_id: dict[str, str] = {}
        self._dashboard_url: str | None = None
        self._clock = Clock()

    def add(self, page: Iterable[RunSummary]) -> None:
        """Add one page of runs."""
        for run in page:
            self._status_by_id[run.id] = run.status
            self._dashboard_url = self._dashboard_url or run.dashboard_url
            self._clock.see(run)

    def progress(self) -> BatchProgress:
        """Return the counts so far."""
        by_status = Counter(self._status_by_id.values())
        return BatchProgress(self._expected, by_status, self._dashboard_url, self._clock.timing())


class RunRecords:
    """Runs asked for one by one, each kept as a small record of plain JSON values.

    :param records: ``{id, status, dashboard_url, name, failure}`` per run, as made by :meth:`record`.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._records = {record["id"]: dict(record) for record in records}

    @staticmethod
    def record(run: WorkflowRun, name: str | None) -> dict[str, Any]:
        """Return what is kept of a run; ``name`` is its file's."""
        failure = ": ".join(part for part in (run.failure_reason, run.failure_message) if part)
        return {
            "id": run.id,
            "status": run.status,
            "dashboard_url": run.dashboard_url,
            "name": name,
            "failure": failure or run.rejection_note,
        }

    @staticmethod
    def created(run_id: str) -> dict[str, Any]:
        """Return the record of a run whose id is all that is known yet."""
        unknown = dict.fromkeys(("dashboard_url", "name", "failure"))
        return {"id": run_id, "status": RunStatus.PENDING, **unknown}

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records, in the order of submission."""
        return list(self._records.values())

    def unsettled(self, on_needs_review: OnNeedsReview) -> list[str]:
        """Return the ids of the runs that must be fetched again."""
        final = SETTLED_STATUSES - {RunStatus.NEEDS_REVIEW} if on_needs_review == "wait" else SETTLED_STATUSES
        return [run_id for run_id, record in self._records.items() if record["status"] not in final]

    def take(self, run: WorkflowRun) -> None:
        """Replace the record of a run with a fresh answer."""
        name = self._records[run.id]["name"] or next(iter(run.file_names), None)
        self._records[run.id] = self.record(run, name)

    def progress(self) -> BatchProgress:
        """Return the counts."""
        records = self.records
        urls = (record["dashboard_url"] for record in records if record["dashboard_url"])
        return BatchProgress(len(records), Counter(record["status"] for record in records), next(urls, None))


@dataclasses.dataclass(frozen=True, slots=True)
class FailurePolicy:
    """How many runs of a batch may fail. A run that is gone has failed.

    :param max_failed: more than this are too many; None: any number.
    :param max_failed_ratio: a larger share of the runs submitted, 0 to 1, is too much; None: any.
    """

    max_failed: int | None = None
    max_failed_ratio: float | None = None

    def judge(self, counts: Mapping[str, Any], *, gone: bool) -> tuple[str | None, bool]:
        """Return a message about the failed runs, None if there are none, and whether it is an error.

        Runs that are gone are an error unless ``max_failed`` or ``max_failed_ratio`` is set.

        :param counts: of a wait that has ended, see :meth:`BatchProgress.as_dict`.
        :param gone: whether runs that are not listed are gone.
        """
        by_status = counts.get("by_status", {})
        kinds = {status: by_status[status] for status in sorted(FAILED_STATUSES) if by_status.get(status)}
        expected = counts.get("expected", 0)
        if gone:
            kinds["gone"] = expected - counts["listed"]
        failed = sum(kinds.values())
        if not failed:
            return None, False
        names = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        said = f"{failed:,} of {expected:,} runs failed ({names})"
        if self.max_failed is not None and failed > self.max_failed:
            return f"{said}, more than max_failed={self.max_failed}.", True
        if self.max_failed_ratio is not None and failed > self.max_failed_ratio * expected:
            return f"{said}, a larger share than max_failed_ratio={self.max_failed_ratio:g}.", True
        if self == FailurePolicy():
            unlimited = f"{said}; neither max_failed nor max_failed_ratio is set."
            return unlimited, gone
        return f"{said}, no more than is allowed.", False
