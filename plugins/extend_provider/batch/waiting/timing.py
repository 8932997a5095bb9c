"""How a batch has gone so far, by the timestamps in its list: Extend's own clock, so no skew. Pure."""

from __future__ import annotations

import dataclasses
import datetime as dt

from extend_provider.client.models import RunSummary


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """The moments of a batch of which at least one run has ended, in seconds since its first run was created.

    :param workflow_id: the workflow of its runs.
    :param first: when the first run ended.
    :param last: when the last of those that have ended did.
    """

    workflow_id: str | None
    first: float
    last: float

    def each(self, settled: int) -> float | None:
        """Return the seconds from one end to the next, on average; None before the second one.

        :param settled: how many runs have ended.
        """
        return (self.last - self.first) / (settled - 1) if settled > 1 else None


class Clock:
    """Reads the moments off the pages of a listing.

    Timestamps are compared as text: RFC 3339 in UTC, all in one format, sorts by time. Only three are parsed.
    """

    def __init__(self) -> None:
        self._workflow_id: str | None = None
        self._created: str | None = None
        self._first: str | None = None
        self._last: str | None = None

    def see(self, run: RunSummary) -> None:
        """Take in one run."""
        self._workflow_id = self._workflow_id or run.workflow_id
        if run.created_at and (self._created is None or run.created_at < self._created):
            self._created = run.created_at
        if run.ended_at:
            if self._first is None or run.ended_at < self._first:
                self._first = run.ended_at
            if self._last is None or run.ended_at > self._last:
                self._last = run.ended_at

    def timing(self) -> Timing | None:
        """Return the moments; None without an end, or if a timestamp cannot be read."""
        if self._created is None or self._first is None or self._last is None:
            return None
        try:
            created, first, last = map(dt.datetime.fromisoformat, (self._created, self._first, self._last))
            moments = ((first - created).total_seconds(), (last - created).total_seconds())
        except (TypeError, ValueError):  # TypeError: one has a time zone, another has none
            return None
        return Timing(self._workflow_id, max(moments[0], 0.0), max(*moments, 0.0))
