"""Attempts: which documents of a settled batch are worth being sent once more. Pure.

A chunk is sent in rounds: the first one holds all its documents, each later one only those of the round
before whose failure may pass by itself. A document is in a round at most once, so it is never sent more often
than there are rounds.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, Final

import msgspec

from extend_pipeline.storage.formats import Stored
from extend_provider.client.models import RunStatus

#: Failures of Extend's own that the same document need not meet again. Extend does not declare its list of
#: reasons complete; one that is not known here is taken for the document's own fault, because sending it
#: again costs money and what it would gain is unknown.
TRANSIENT_REASONS: Final = frozenset({"INTERNAL_ERROR", "DOCUMENT_PROCESSOR_ERROR"})
#: Failures that a file which could not be fetched may end in; Extend does not say which one it gives.
FILE_REASONS: Final = frozenset({"FAILED_TO_PROCESS_FILE", "UNABLE_TO_DOWNLOAD_FILE"})
#: How soon after a run has begun Extend has read its file, at the latest; it does not say when it did.
FETCH_TIME: Final = dt.timedelta(minutes=1)
#: Runs that were never listed are sent again, and paid for again, if they are few: this share of a batch;
MISSING_SHARE: Final = 0.1
#: so many of a small one, but not all of them;
MISSING_FEW: Final = 3
#: never more than so many. A list that lacks more is more likely wrong than short.
MISSING_MOST: Final = 50


@dataclasses.dataclass(frozen=True, slots=True)
class RunEnd:
    """How one run has ended.

    :param document_id: the document it was for; None if the run does not tell.
    :param reason: Extend's reason for a failure.
    :param started_at: when Extend began with it, RFC 3339.
    :param run_id: its id at Extend.
    """

    document_id: str | None
    status: str
    reason: str | None = None
    started_at: str | None = None
    run_id: str = ""

    def came_too_late(self, urls_end: dt.datetime | None) -> bool:
        """Whether it failed over its file, and may have come to it when the presigned URL had ended already.

        :param urls_end: when that was, timezone-aware; None: the file was not read by such a URL.
        """
        if self.status != RunStatus.FAILED or self.reason not in FILE_REASONS:
            return False
        if urls_end is None or self.started_at is None:
            return False
        return _moment(self.started_at) + FETCH_TIME >= urls_end

    def may_pass(self, urls_end: dt.datetime | None = None) -> bool:
        """Whether another attempt, with a fresh URL, may go better.

        A run that somebody has cancelled says nothing of its document, and whoever wants the document dead
        ends the Airflow run, which asks for no more rounds.
        """
        if self.status == RunStatus.FAILED:
            return self.reason in TRANSIENT_REASONS or self.came_too_late(urls_end)
        return self.status == RunStatus.CANCELLED


class Evidence(Stored, frozen=True, kw_only=True):
    """What Extend has told of a round that has settled: facts, from which each run decides by its settings.

    :ivar listed: how many of its runs were listed.
    :ivar missing: how many of those that were submitted Extend does not have.
    :ivar gone: ids of the runs that were listed and not there.
    :ivar ends: how the runs ended that did not end well; how every run ended, if some are missing.
    :ivar without_run: documents that never had a run, as far as anybody has seen.
    :ivar accepted: so many missing runs somebody has accepted as gone for good.
    :ivar seen_at: when, RFC 3339.
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

    def granted(self, submitted: int) -> int:
        """Return how many of the runs need not be there when the round is waited for and collected."""
        return self.missing if self.missing <= max(tolerated_missing(submitted), self.accepted) else 0

    def is_doubtful(self, submitted: int) -> bool:
        """Whether so many documents never had a run that a person has to say what is to become of them."""
        return len(self.without_run) > max(tolerated_missing(submitted), self.accepted)


def tolerated_missing(submitted: int) -> int:
    """Return how many runs of a batch may be missing for their documents to be sent again unasked.

    Never all: a batch of which nothing is listed is one that somebody else's connection would show.
    """
    share = max(MISSING_FEW, int(submitted * MISSING_SHARE))
    return max(0, min(MISSING_MOST, share, submitted - 1))


def documents_without_run(sent: Iterable[str], ends: Iterable[RunEnd]) -> tuple[str, ...]:
    """Return the documents that have no run, given how every run of their batch has ended.

    None, if a run does not tell which of them it is for: it may be any one's.
    """
    documents, seen = dict.fromkeys(sent), {end.document_id for end in ends}
    return tuple(one for one in documents if one not in seen) if seen <= documents.keys() else ()


def merged(before: Evidence | None, now: Evidence, *, fine: Collection[str] = ()) -> Evidence:
    """Return what is known after another look at the same round.

    What Extend had once and has no more stays known, so no later loss makes a document one that never ran.

    :param fine: ids of runs that ended well, of which ``now`` does not tell how.
    """
    if before is None:
        return now
    ends = {end.run_id or end: end for end in (*before.ends, *now.ends) if end.run_id not in fine}
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
    """Return the documents that are sent again, in their order, after a round in which every run has settled.

    :param sent: the documents of the round.
    :param number: the round's, from 1.
    :param max_attempts: how often a document is sent at the most.
    :param urls_end: when the presigned URLs of the round ended; None if it had none.
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
        return all(end.may_pass(urls_end) for end in ends) if ends else document in without_run

    return tuple(filter(is_due, dict.fromkeys(sent)))


def _moment(timestamp: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(timestamp)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
