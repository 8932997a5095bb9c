"""How far a set of runs is, what that means, and when to look again: pure, shared by every way of waiting.

Invariants: done means counted (as many distinct runs are listed as were submitted, and each one has
settled); a status nobody knows is "not yet"; the deadline is a wall-clock time, so that it outlives the
process that set it. The state between looks is kept by :mod:`extend_provider.batch.waiting`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, get_args

from extend_provider.client.models import RunStatus, RunSummary, WorkflowRun

#: What becomes of a run that waits for a human reviewer: it counts as settled and its result so far is taken
#: ("land"), the wait goes on until the reviewer has decided ("wait"), or the task fails once everything else
#: has settled ("fail").
OnNeedsReview = Literal["land", "wait", "fail"]
ON_NEEDS_REVIEW: tuple[str, ...] = get_args(OnNeedsReview)

# Polling ends at these (SDK 1.20.0, create_and_poll): nothing changes them but a reviewer.
SETTLED = frozenset(
    {
        RunStatus.PROCESSED,
        RunStatus.FAILED,
        RunStatus.REJECTED,
        RunStatus.CANCELLED,
        RunStatus.NEEDS_REVIEW,
    }
)
#: Settled, and without a result.
FAILED = frozenset({RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED})
IN_FLIGHT = frozenset({RunStatus.PENDING, RunStatus.PROCESSING, RunStatus.CANCELLING})

#: How much an interval grows while nothing changes, and shrinks when something did.
STRETCH = 1.5
SHRINK = 0.5
#: Part of an interval that chance adds or takes, so that a night's batches do not poll in step.
JITTER = 0.2


class Outcome(StrEnum):
    """What a look at the runs leads to."""

    WAIT = "wait"
    DONE = "done"
    SHORT = "short"
    FAILED_REVIEW = "failed_review"
    TIMED_OUT = "timed_out"
    GAVE_UP = "gave_up"


@dataclasses.dataclass(frozen=True, slots=True)
class BatchProgress:
    """Distinct runs counted by status at one moment.

    :param expected: how many runs were submitted.
    :param by_status: number of distinct runs per status, as Extend spells it.
    :param dashboard_url: page of the first run listed; Extend documents none for a batch.
    """

    expected: int
    by_status: Mapping[str, int]
    dashboard_url: str | None = dataclasses.field(default=None, compare=False)

    @property
    def listed(self) -> int:
        """Number of distinct runs listed."""
        return sum(self.by_status.values())

    @property
    def settled(self) -> int:
        """Number of runs on which Extend itself works no more; those in review are among them."""
        return sum(count for status, count in self.by_status.items() if status in SETTLED)

    @property
    def in_review(self) -> int:
        """Number of runs that wait for a human reviewer."""
        return self.by_status.get(RunStatus.NEEDS_REVIEW, 0)

    @property
    def complete(self) -> bool:
        """Whether every submitted run is listed and every listed run has settled."""
        return self.listed >= self.expected and self.settled == self.listed

    @property
    def short(self) -> bool:
        """Whether runs are missing from the list and every other one has settled."""
        return self.listed < self.expected and self.settled == self.listed

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know although it does not stop the wait."""
        found = []
        for status, count in sorted(self.by_status.items()):
            if status not in SETTLED and status not in IN_FLIGHT:
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
        if self.listed < self.expected:
            parts.append(f"{self.expected - self.listed:,} not listed yet")
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

    def add(self, page: Iterable[RunSummary]) -> None:
        """Take in one page of runs."""
        for run in page:
            self._status_by_id[run.id] = run.status
            self._dashboard_url = self._dashboard_url or run.dashboard_url

    def progress(self) -> BatchProgress:
        """Return the counts so far."""
        return BatchProgress(self._expected, Counter(self._status_by_id.values()), self._dashboard_url)


class FollowedRuns:
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
        """Return what is kept of a run of which nothing but its id is known yet."""
        unknown = dict.fromkeys(("dashboard_url", "name", "failure"))
        return {"id": run_id, "status": RunStatus.PENDING, **unknown}

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records, in the order of submission."""
        return list(self._records.values())

    def unsettled(self, on_needs_review: OnNeedsReview) -> list[str]:
        """Return the ids of the runs that are worth asking for again."""
        final = SETTLED - {RunStatus.NEEDS_REVIEW} if on_needs_review == "wait" else SETTLED
        return [run_id for run_id, record in self._records.items() if record["status"] not in final]

    def take(self, run: WorkflowRun) -> None:
        """Take in a fresh answer for one of the runs."""
        name = self._records[run.id]["name"] or next(iter(run.file_names), None)
        self._records[run.id] = self.record(run, name)

    def progress(self) -> BatchProgress:
        """Return the counts."""
        records = self.records
        urls = (record["dashboard_url"] for record in records if record["dashboard_url"])
        return BatchProgress(len(records), Counter(record["status"] for record in records), next(urls, None))


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What to do after a look.

    :param outcome: one of the named outcomes.
    :param message: why, for a person; the subject ("Batch …") is the caller's to put before it.
    """

    outcome: Outcome
    message: str


def decide(
    progress: BatchProgress,
    on_needs_review: OnNeedsReview,
    *,
    now: float,
    deadline: float,
    unchanged_for: float = 0.0,
    missing_after: float | None = None,
) -> Decision:
    """Decide what the counts mean. What has settled is done even when the deadline has passed.

    :param progress: the counts of one complete look.
    :param on_needs_review: policy for runs that wait for a reviewer.
    :param now: the present, in seconds since the epoch.
    :param deadline: when waiting ends, in seconds since the epoch.
    :param unchanged_for: seconds for which every look has shown these counts.
    :param missing_after: seconds after which runs that are not listed count as gone, if others are; None:
        never.
    """
    waits_for_review = on_needs_review == "wait" and progress.in_review > 0
    if progress.complete and not waits_for_review:
        if on_needs_review == "fail" and progress.in_review:
            return Decision(
                Outcome.FAILED_REVIEW,
                f"{progress}. on_needs_review='fail' accepts no runs in review; decide on them in Extend's "
                "dashboard and clear this task, or use 'land' or 'wait'.",
            )
        return Decision(Outcome.DONE, str(progress))
    # An empty list is no evidence: it is what a wrong id, or another workspace's connection, gets too.
    gone = missing_after is not None and unchanged_for >= missing_after and progress.listed > 0
    if gone and progress.short and not waits_for_review:
        return Decision(Outcome.SHORT, f"{progress}. Nothing has changed for {unchanged_for:,.0f} s.")
    if now >= deadline:
        return timed_out(progress, deadline)
    return Decision(
        Outcome.WAIT, f"{progress}; waiting for the reviewers" if waits_for_review else str(progress)
    )


@dataclasses.dataclass(frozen=True, slots=True)
class FailurePolicy:
    """How many runs of a batch may fail. A run that is gone has failed.

    :param max_failed: more than this are too many; None: any number.
    :param max_failed_ratio: a larger share of the runs submitted, 0 to 1, is too much; None: any.
    """

    max_failed: int | None = None
    max_failed_ratio: float | None = None

    def judge(self, counts: Mapping[str, Any], *, gone: bool) -> tuple[str | None, bool]:
        """Return what is to be said of the runs that failed, None if none did, and whether it is an error.

        Runs that are gone are an error as long as nobody has said how many may be.

        :param counts: of a wait that has ended, see :meth:`BatchProgress.as_dict`.
        :param gone: whether runs that are not listed are gone.
        """
        by_status = counts.get("by_status", {})
        kinds = {status: by_status[status] for status in sorted(FAILED) if by_status.get(status)}
        expected = counts.get("expected", 0)
        if gone:
            kinds["gone"] = expected - counts["listed"]
        failed = sum(kinds.values())
        if not failed:
            return None, False
        told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        said = f"{failed:,} of {expected:,} runs failed ({told})"
        if self.max_failed is not None and failed > self.max_failed:
            return f"{said}, more than max_failed={self.max_failed}.", True
        if self.max_failed_ratio is not None and failed > self.max_failed_ratio * expected:
            return f"{said}, a larger share than max_failed_ratio={self.max_failed_ratio:g}.", True
        if self == FailurePolicy():
            unsaid = f"{said}; neither max_failed nor max_failed_ratio says how many may."
            return unsaid, gone
        return f"{said}, no more than is allowed.", False


def timed_out(progress: BatchProgress | None, deadline: float, note: str = "") -> Decision:
    """Return the verdict that the deadline (seconds since the epoch) has passed.

    :param progress: the counts of the last complete look; None without one.
    :param note: what else to say, with a space before it.
    """
    moment = datetime.fromtimestamp(deadline, tz=UTC).isoformat(timespec="seconds")
    known = str(progress) if progress else "nothing known of the runs"
    if progress is not None and not progress.listed:
        note += (
            " Not one run was ever listed: check the id, and that the connection is of the same workspace."
        )
    return Decision(Outcome.TIMED_OUT, f"{known} at the deadline ({moment}).{note}")


def next_interval(
    previous: float | None,
    progress: BatchProgress | None,
    *,
    changed: bool,
    minimum: float,
    maximum: float,
    remaining: float,
    chance: float,
) -> float:
    """Return how long to wait before the next look, in seconds.

    Starts short, grows while nothing changes, shrinks with every change and the more the fewer runs are left;
    never past the deadline, so that the last look happens at it.

    :param previous: the interval before this one; None at the start.
    :param progress: the counts of the last look; None when it failed.
    :param changed: whether the counts differ from the look before.
    :param minimum: lower bound in seconds.
    :param maximum: upper bound in seconds.
    :param remaining: seconds until the deadline.
    :param chance: a number in [0, 1) that spreads the interval by ±20 %.
    """
    if previous is None:
        interval = minimum
    elif not changed:
        interval = previous * STRETCH
    else:
        left = 1 - progress.settled / progress.expected if progress and progress.expected else 1.0
        interval = min(previous * SHRINK, minimum + (maximum - minimum) * max(left, 0.0))
    interval *= 1 + JITTER * (2 * chance - 1)
    return max(0.0, min(max(interval, minimum), maximum, remaining))
