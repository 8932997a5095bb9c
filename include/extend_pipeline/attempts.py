"""Attempts: which documents of a settled batch are worth being sent once more. Pure.

A chunk is sent in rounds: the first one holds all its documents, each later one only those of the round
before whose failure may pass by itself. A document is in a round at most once, so it is never sent more often
than there are rounds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from extend_provider.models import RunStatus

#: Failures of Extend's own that the same document need not meet again. Extend does not declare its list of
#: reasons complete; one that is not known here is taken for the document's own fault, because sending it
#: again costs money and what it would gain is unknown.
TRANSIENT_REASONS: Final = frozenset({"INTERNAL_ERROR", "DOCUMENT_PROCESSOR_ERROR"})


@dataclasses.dataclass(frozen=True, slots=True)
class RunEnd:
    """How one run has ended.

    :param document_id: the document it was for; None if the run does not tell.
    :param reason: Extend's reason for a failure.
    """

    document_id: str | None
    status: str
    reason: str | None = None

    @property
    def may_pass(self) -> bool:
        """Whether another attempt may go better.

        A run that somebody has cancelled says nothing of its document, and whoever wants the document dead
        ends the Airflow run, which asks for no more rounds.
        """
        if self.status == RunStatus.FAILED:
            return self.reason in TRANSIENT_REASONS
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
) -> tuple[str, ...]:
    """Return the documents that are sent again, in their order, after a round in which every run has settled.

    :param sent: the documents of the round.
    :param ends: how its runs have ended; those that went well may be left out if ``known_whole`` is False.
    :param known_whole: whether ``ends`` has every run that there is, so that a document without one has none.
    :param number: the round's, from 1.
    :param max_attempts: how often a document is sent at the most.
    """
    if number >= max_attempts:
        return ()
    ends_of: dict[str, list[RunEnd]] = {}
    for end in ends:
        if end.document_id is not None:
            ends_of.setdefault(end.document_id, []).append(end)
    return tuple(one for one in dict.fromkeys(sent) if _is_due(one, ends_of, known_whole=known_whole))


def _is_due(document_id: str, ends_of: Mapping[str, Sequence[RunEnd]], *, known_whole: bool) -> bool:
    ends = ends_of.get(document_id)
    return known_whole if not ends else all(end.may_pass for end in ends)
