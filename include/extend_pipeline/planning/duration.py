"""Duration: how long a plan takes, from what its requests take and from how fast Extend was before.

Requests: each batch is submitted, looked at once every ``poke_interval`` while it is at work, listed when it
has settled and listed when it is collected; each document's result is one more, and so is its upload, if it
is uploaded. They take their number divided by the requests per second that the connection allows.

Work at Extend: documents divided by how many Extend has settled per second while batches of the workflow were
at work, as many at a time as there were then.

The two go on side by side, so the plan takes as long as the longer one.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

#: Requests that a batch needs beside the looks and those for its documents: submit, list twice.
_REQUESTS_PER_BATCH: Final = 3


class LandedBatch(NamedTuple):
    """A batch that has landed: how many of its runs have ended, and from when to when it was at work."""

    documents: int
    created_at: dt.datetime
    ended_at: dt.datetime

    @property
    def seconds(self) -> float:
        """How long it was at work."""
        return (self.ended_at - self.created_at).total_seconds()


class Pace(NamedTuple):
    """How fast Extend was.

    :param based_on: documents that this rests on.
    :param per_second: documents settled per second while any batch was at work.
    :param batch_seconds: how long the batch of a document was at work, on average over documents.
    """

    based_on: int
    per_second: float
    batch_seconds: float

    @classmethod
    def of(cls, batches: Iterable[LandedBatch]) -> Self | None:
        """Work it out of landed batches; None if there are none, or none that took any time."""
        known = sorted((batch for batch in batches if batch.seconds > 0), key=lambda batch: batch.created_at)
        documents = sum(batch.documents for batch in known)
        if not documents:
            return None
        busy, until = 0.0, known[0].created_at
        for batch in known:
            busy += max((batch.ended_at - max(until, batch.created_at)).total_seconds(), 0.0)
            until = max(until, batch.ended_at)
        mean = sum(batch.documents * batch.seconds for batch in known) / documents
        return cls(documents, documents / busy, mean)


@dataclasses.dataclass(frozen=True, slots=True)
class Duration:
    """How long the documents to be sent are going to take.

    :ivar requests: requests to Extend.
    :ivar requests_per_second: how many of them the connection allows; None for no limit.
    :ivar work_seconds: how long Extend works on the documents; None if that is not known.
    :ivar based_on: landed documents that this rests on.
    """

    requests: int = 0
    requests_per_second: float | None = None
    work_seconds: float | None = None
    based_on: int = 0

    @classmethod
    def of(
        cls,
        *,
        documents: int,
        uploads: int,
        batches: int,
        poke_interval: float,
        requests_per_second: float | None,
        pace: Pace | None,
    ) -> Self:
        """Estimate it; see this module for how.

        :param poke_interval: seconds between two looks at a batch.
        """
        looks = max(math.ceil(pace.batch_seconds / poke_interval), 1) if pace else 1
        requests = documents + uploads + batches * (_REQUESTS_PER_BATCH + looks)
        if pace is None:
            return cls(requests, requests_per_second)
        return cls(requests, requests_per_second, documents / pace.per_second, pace.based_on)

    @property
    def request_seconds(self) -> float:
        """How long the requests take at the connection's rate; 0 if it sets none."""
        return self.requests / self.requests_per_second if self.requests_per_second else 0.0

    @property
    def seconds(self) -> float:
        """The whole estimate; what is not known counts nothing."""
        return max(self.request_seconds, self.work_seconds or 0.0)

    def describe(self) -> str:
        """Say the estimate and what it rests on."""
        if not self.requests:
            return "nothing to wait for"
        rate = f"{self.requests:,} requests"
        if self.requests_per_second:
            rate += f" at {self.requests_per_second:g} per second take {_clock(self.request_seconds)}"
        else:
            rate += ", for which the connection sets no rate"
        if self.work_seconds is None:
            return f"at least {_clock(self.seconds)} ({rate}); how long Extend takes is not known yet"
        work = f"Extend {_clock(self.work_seconds)}, going by {self.based_on:,} landed documents"
        return f"about {_clock(self.seconds)} ({rate}; {work})"


def _clock(seconds: float) -> str:
    return str(dt.timedelta(seconds=round(seconds)))
