"""What a process has seen of earlier batches: when, at the soonest, something can have happened in a new one.

Kept in memory alone, per connection and workflow, and bounded. It only decides when Extend is asked, never
what an answer means.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict
from typing import Final

from extend_provider.batch.waiting.timing import Timing

#: Workflows remembered of a connection; the one not seen for longest is forgotten.
MOST_WORKFLOWS: Final = 256
#: How far the memory moves towards a slower batch. It moves to a quicker one at once, so that it stays a
#: guess of the soonest: looking too early costs a request, looking too late costs time.
TOWARDS_SLOWER: Final = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """The pace of quick batches of a workflow.

    :param first: seconds from the creation of a batch to the end of its first run.
    :param each: seconds from one end to the next; None if only batches of one run were seen.
    """

    first: float
    each: float | None = None

    def end(self, expected: int) -> float:
        """Return when a batch of so many runs is over, in seconds since its creation."""
        return self.first + (self.each or 0.0) * max(expected - 1, 0)


class Experience:
    """The paces of a connection's workflows. Threads may share it."""

    def __init__(self) -> None:
        self._paces: OrderedDict[str, Pace] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, timing: Timing, settled: int) -> None:
        """Take in how a batch has gone until so many of its runs had settled."""
        if timing.workflow_id is None:
            return
        with self._lock:
            known = self._paces.pop(timing.workflow_id, None)
            first: float | None = timing.first
            each = timing.each(settled)
            if known is not None:
                first, each = _moved(known.first, first), _moved(known.each, each)
            self._paces[timing.workflow_id] = Pace(first or 0.0, each)
            if len(self._paces) > MOST_WORKFLOWS:
                self._paces.popitem(last=False)

    def pace(self, workflow_id: str | None) -> Pace | None:
        """Return a workflow's pace; None if nothing is known of it.

        :param workflow_id: None, as before the first list: the quickest of all that are known.
        """
        with self._lock:
            if workflow_id is not None:
                return self._paces.get(workflow_id)
            if not self._paces:
                return None
            paces = self._paces.values()
            return Pace(min(pace.first for pace in paces), min(pace.each or 0.0 for pace in paces))


def _moved(known: float | None, seen: float | None) -> float | None:
    if known is None or seen is None:
        return known if seen is None else seen
    return seen if seen < known else known + TOWARDS_SLOWER * (seen - known)
