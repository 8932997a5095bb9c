"""Attempts: which documents of a settled batch are sent once more. Pure.

A chunk is sent in rounds: the first one has all its documents, each later one only those of the previous
round whose failure may be temporary. A document is in a round at most once, so it is sent at most as often as
there are rounds.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, Final

import msgspec

from extend_pipeline.storage.formats import Stored
from extend_provider.client.models import RunStatus, utc_moment

#: Failures inside Extend that another attempt may not meet. Extend's list of reasons may be incomplete; an
#: unknown reason counts as the document's own fault, because sending it again costs money.
TRANSIENT_REASONS: Final = frozenset({"INTERNAL_ERROR", "DOCUMENT_PROCESSOR_ERROR"})
#: Failures that Extend may report for a file that it could not fetch; it does not document which one.
FETCH_REASONS: Final = frozenset({"FAILED_TO_PROCESS_FILE", "UNABLE_TO_DOWNLOAD_FILE"})
#: Extend has read a run's file at the latest so long after the run started; it does not report when.
FETCH_TIME: Final = dt.timedelta(minutes=1)
#: Documents without a run are sent again, and paid for again, if they are few: at most this share of a batch;
MISSING_SHARE: Final = 0.1
#: at least so many of a small batch, but never all of it;
MISSING_FEW: Final = 3
#: never more than so many. If a list lacks more, the list is more likely to be wrong.
MISSING_MOST: Final = 50


@dataclasses.dataclass(frozen=True, slots=True)
class RunEnd:
    """How one run has ended.

    :param document_id: the document it was for; None if its metadata does not name it.
    :param reason: Extend's reason for a failure.
    :param started_at: when Extend started it, RFC 3339.
    :param run_id: its id at Extend.
    """

    document_id: str | None
    status: str
    reason: str | None = None
    started_at: str | None = None
    run_id: str = ""

    def url_may_have_expired(self, urls_end: dt.datetime | None) -> bool:
        """Return True if it failed to fetch its file, possibly because the presigned URL had expired.

        :param urls_end: when the URL expired, timezone-aware; None if there was none.
        """
        if self.status != RunStatus.FAILED or self.reason not in FETCH_REASONS:
            return False
        if urls_end is None or self.started_at is None:
            return False
        return utc_moment(self.started_at) + FETCH_TIME >= urls_end

    def is_transient(self, urls_end: dt.datetime | None = None) -> bool:
        """Return True if another attempt, with a fresh URL, may succeed.

        A cancelled run is no evidence against its document; to give the document up, one ends the Airflow
        run, and then there are no more rounds.
        """
        if self.status == RunStatus.FAILED:
            return self.reason in TRANSIENT_REASONS or self.url_may_have_expired(urls_end)
        return self.status == RunStatus.CANCELLED


class Evidence(Stored, frozen=True, kw_only=True):
    """Facts that Extend has reported about a settled round; each run decides on them by its own settings.

    :ivar listed: how many of its runs were listed.
    :ivar missing: how many of the submitted runs Extend does not have.
    :ivar gone: ids of the runs that were listed and do not exist.
    :ivar ends: how the unsuccessful runs ended; how every run ended, if some are missing.
    :ivar without_run: documents for which no look has ever found a run.
    :ivar accepted: how many missing runs a person has accepted as gone for good.
    :ivar seen_at: the time of the last look, RFC 3339.
    """

    FORMAT: ClassVar[int] = 2

    listed: int = 0
    missing: int = 0
    gone: tuple[str, ...] = ()
    ends: tuple[RunEnd, ...] = ()
    without_run: tuple[str, ...] = ()
    accepted: int = 0
    seen_at: str = ""

    @classmethod
    def upgraded(cls, plain: dict[str, Any], from_format: int) -> dict[str, Any]:
        """Read what releases before wrote under ``schema_version`` instead of ``format``."""
        if plain.pop("schema_version", cls.FORMAT) != cls.FORMAT:
            raise ValueError("schema_version")
        return plain

    def allowed_missing(self, submitted: int) -> int:
        """Return how many runs may be missing when the round is waited for and collected."""
        return self.missing if self.missing <= max(tolerated_missing(submitted), self.accepted) else 0

    def is_doubtful(self, submitted: int) -> bool:
        """Return True if so many documents have no run that a person has to decide about them."""
        return len(self.without_run) > max(tolerated_missing(submitted), self.accepted)


def tolerated_missing(submitted: int) -> int:
    """Return how many runs of a batch may be missing if their documents are to be sent again automatically.

    Never all of them: an empty list is also what a connection of another workspace would return.
    """
    share = max(MISSING_FEW, int(submitted * MISSING_SHARE))
    return max(0, min(MISSING_MOST, share, submitted - 1))


def documents_without_run(sent: Iterable[str], ends: Iterable[RunEnd]) -> tuple[str, ...]:
    """Return the documents that have no run, given how every run of their batch has ended.

    Empty if a run does not name one of these documents: it may be the run of any of them.
    """
    documents, seen = dict.fromkeys(sent), {end.document_id for end in ends}
    return tuple(one for one in documents if one not in seen) if seen <= documents.keys() else ()


def merged(before: Evidence | None, now: Evidence, *, not_failed: Collection[str] = ()) -> Evidence:
    """Return what is known after another look at the same round.

    A run that Extend had once stays known, so a run that is deleted later makes no document look unsent.

    :param not_failed: ids of runs that ended well and are not among the ends of ``now``.
    """
    if before is None:
        return now
    ends = {end.run_id or end: end for end in (*before.ends, *now.ends) if end.run_id not in not_failed}
    still = set(before.without_run)
    return msgspec.structs.replace(
        now,
        ends=tuple(ends.values()),
        without_run=tuple(one for one in now.without_run if one in still),
        accepted=max(before.accepted, now.accepted),
        others=before.others,
    )


def next_round(
    sent: Sequence[str],
    evidence: Evidence,
    *,
    number: int,
    max_attempts: int,
    urls_end: dt.datetime | None = None,
) -> tuple[str, ...]:
    """Return the documents that are sent again, in their order, after every run of a round has settled.

    :param sent: the documents of the round.
    :param number: of the round, from 1.
    :param max_attempts: how often a document is sent at most.
    :param urls_end: when the presigned URLs of the round expired; None if it had none.
    """
    if number >= max_attempts:
        return ()
    few = len(evidence.without_run) <= tolerated_missing(len(sent))
    without_run = set(evidence.without_run) if few else set()
    ends_of: dict[str | None, list[RunEnd]] = {}
    for end in evidence.ends:
        ends_of.setdefault(end.document_id, []).append(end)

    def is_due(document: str) -> bool:
        ends = ends_of.get(document)
        return all(end.is_transient(urls_end) for end in ends) if ends else document in without_run

    return tuple(filter(is_due, dict.fromkeys(sent)))
