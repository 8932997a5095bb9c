"""Bundling: when the documents that have arrived are announced, so that a run takes many at once. Pure.

What has arrived is in the workspace already, see manifests.py; an announcement is only the asset event that
starts a run. So nothing depends on this state: a trigger that begins anew announces what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

#: Seconds after which an announcement is repeated while no run has taken anything of it: the asset event may
#: be lost, and while the DAG is paused an event starts no run. It is long, because a run may be queued behind
#: others, and each event is one more run in the queue.
REMIND_AFTER: Final = 3600.0


class Bundle(NamedTuple):
    """Addresses that were written into the workspace together; its name says all of this.

    :param name: unique; the names sort by time.
    :param documents: how many addresses it has.
    :param written: when, in seconds since the epoch.
    """

    name: str
    documents: int
    written: float


class Announcement(NamedTuple):
    """The content of an asset event; its size does not depend on how much has arrived."""

    bundles: int
    documents: int


class Bundling:
    """Decides when to announce, given what no run has taken yet.

    :param at_least: announce when so many documents wait.
    :param or_after: announce when the first of them has waited for so many seconds, however few there are.
    """

    def __init__(self, *, at_least: int, or_after: float) -> None:
        self.at_least, self.or_after = at_least, or_after
        self._announced: frozenset[str] = frozenset()
        self._announced_at = 0.0

    def decide(self, waiting: Sequence[Bundle], now: float) -> Announcement | None:
        """Return what is announced now; None if nothing is.

        A run takes everything that waits. So while it has not come to what was announced, what arrives
        meanwhile needs no announcement of its own.

        :param waiting: the bundles that no run has taken.
        """
        names = frozenset(bundle.name for bundle in waiting)
        if self.next_in(waiting, now) > 0:
            return None
        self._announced, self._announced_at = names, now
        return Announcement(len(waiting), sum(bundle.documents for bundle in waiting))

    def next_in(self, waiting: Sequence[Bundle], now: float) -> float:
        """Return the seconds until something is announced if nothing arrives; infinite if nothing waits."""
        if self._announced and self._announced <= {bundle.name for bundle in waiting}:
            return self._announced_at + REMIND_AFTER - now
        return self._due_in(waiting, now)

    def _due_in(self, waiting: Sequence[Bundle], now: float) -> float:
        if not waiting:
            return float("inf")
        if sum(bundle.documents for bundle in waiting) >= self.at_least:
            return 0.0
        return min(bundle.written for bundle in waiting) + self.or_after - now
