"""Attempts: which documents of a settled batch are worth being sent once more. Pure.

A chunk is sent in rounds: the first one holds all its documents, each later one only those of the round
before whose failure may pass by itself. A document is in a round at most once, so it is never sent more often
than there are rounds.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from extend_provider.models import RunStatus

#: Failures of Extend's own that the same document need not meet again. Extend does not declare its list of
#: reasons complete; one that is not known here is taken for the document's own fault, because sending it
#: again costs money and what it would gain is unknown.
TRANSIENT_REASONS: Final = frozenset({"INTERNAL_ERROR", "DOCUMENT_PROCESSOR_ERROR"})
#: Failures that a file which could not be fetched may end in; Extend does not say which one it gives.
FILE_REASONS: Final = frozenset({"FAILED_TO_PROCESS_FILE", "UNABLE_TO_DOWNLOAD_FILE"})
#: How soon after a run has begun Extend has read its file, at the latest; it does not say when it did.
FETCH_TIME: Final = dt.timedelta(minutes=1)


@dataclasses.dataclass(frozen=True, slots=True)
class RunEnd:
    """How one run has ended.

    :param document_id: the document it was for; None if the run does not tell.
    :param reason: Extend's reason for a failure.
    :param started_at: when Extend began with it, RFC 3339.
    """

    document_id: str | None
    status: str
    reason: str | None = None
    started_at: str | None = None

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


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a round, once for all.

    :param again: the documents of the next round; none: this was the last one.
    :param missing: how many of the round's runs Extend does not have.
    """

    again: tuple[str, ...]
    missing: int = 0


def next_round(
    sent: Iterable[str],
    ends: Iterable[RunEnd],
    *,
    known_whole: bool,
    number: int,
    max_attempts: int,
    urls_end: dt.datetime | None = None,
) -> tuple[str, ...]:
    """Return the documents that are sent again, in their order, after a round in which every run has settled.

    :param sent: the documents of the round.
    :param ends: how its runs have ended; those that went well may be left out if ``known_whole`` is False.
    :param known_whole: whether ``ends`` has every run that there is, so that a document without one has none.
    :param number: the round's, from 1.
    :param max_attempts: how often a document is sent at the most.
    :param urls_end: when the presigned URLs of the round ended; None if it had none.
    """
    if number >= max_attempts:
        return ()
    ends_of: dict[str, list[RunEnd]] = {}
    for end in ends:
        if end.document_id is not None:
            ends_of.setdefault(end.document_id, []).append(end)
    return tuple(one for one in dict.fromkeys(sent) if _is_due(ends_of.get(one), known_whole, urls_end))


def _is_due(ends: Sequence[RunEnd] | None, known_whole: bool, urls_end: dt.datetime | None) -> bool:
    return known_whole if not ends else all(end.may_pass(urls_end) for end in ends)


def _moment(timestamp: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(timestamp)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
