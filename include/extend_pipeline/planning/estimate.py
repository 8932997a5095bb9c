"""Spending: what a plan costs as far as can be told beforehand, and whether a run's bounds allow it.

Extend says what a document costs when it has been processed, so an estimate rests on what was charged for
documents that have landed. Without any, the cost is unknown, and unknown is never taken for little.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from extend_pipeline.warehouse.records import Charge

if TYPE_CHECKING:
    from extend_pipeline.planning.plan import Plan


def file_type(name: str) -> str:
    """Return what documents are told apart by: the ending of the name in lower case, without the dot."""
    return posixpath.splitext(name)[1].removeprefix(".").lower()


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """What the documents to be sent are going to cost.

    :ivar credits: None if it is unknown.
    :ivar based_on: documents whose charges it rests on.
    :ivar same_version: whether these were sent to the version asked for, or to others of the workflow.
    :ivar unseen: documents to be sent of a file type that none of these has; they count as the average one.
    """

    credits: float | None
    based_on: int = 0
    same_version: bool = True
    unseen: int = 0

    @classmethod
    def of(cls, to_send: Mapping[str, int], charges: Iterable[Charge]) -> Estimate:
        """Estimate by the average charge per file type, of the version asked for if it has any.

        :param to_send: number of documents by file type.
        """
        charges = list(charges)
        of_version = [charge for charge in charges if charge.same_version]
        documents, credits = Counter[str](), defaultdict[str, float](float)
        for charge in of_version or charges:
            documents[charge.file_type] += charge.documents
            credits[charge.file_type] += charge.credits
        based_on = documents.total()
        if not sum(to_send.values()):
            return cls(0.0)
        if not based_on:
            return cls(None)
        average = sum(credits.values()) / based_on
        return cls(
            sum(
                count * (credits[kind] / documents[kind] if documents[kind] else average)
                for kind, count in to_send.items()
            ),
            based_on,
            bool(of_version),
            sum(count for kind, count in to_send.items() if not documents[kind]),
        )

    def describe(self) -> str:
        """Say the estimate and what it rests on."""
        if self.credits is None:
            return "unknown, because no document of this workflow has been charged before"
        if not self.based_on:
            return "0"
        whose = "of this workflow and version" if self.same_version else "of other versions of this workflow"
        unseen = f"; {self.unseen:,} of a file type not seen before, at the average" if self.unseen else ""
        basis = f"{self.based_on:,} landed documents {whose}, by file type{unseen}"
        return f"about {self.credits:,.10g}, from {basis}"


def refusal(plan: Plan, *, max_documents: int | None, max_credits: float | None) -> str | None:
    """Return why a plan must not be carried out, or None.

    What other runs hold was allowed, and is accounted for, by the run that planned it; likewise what an
    earlier attempt of this run has claimed. So a plan that claims nothing new is never refused.

    :param max_documents: more documents to send than this are too many; None allows any number.
    :param max_credits: a higher estimate than this is too much, and an unknown one is; None allows any.
    """
    if not plan.new_chunks:
        return None
    credits = plan.estimate.credits
    if max_documents is not None and plan.to_send > max_documents:
        return (
            f"{plan.to_send:,} documents to send are more than max_documents={max_documents} allows. Raise "
            "it, narrow the source, or set limit to send a part now and the rest in later runs."
        )
    if max_credits is not None and credits is None:
        return (
            f"max_credits={max_credits:g} cannot be kept, because no document of this workflow has been "
            "charged before and the cost is unknown. Run once with a small limit (and max_documents, if you "
            "like) and without max_credits; what is charged then tells the cost of the rest."
        )
    if max_credits is not None and credits is not None and credits > max_credits:
        return (
            f"About {credits:,.10g} credits are more than max_credits={max_credits:g} allows. Raise it, "
            "narrow the source, or set limit to send a part now and the rest in later runs."
        )
    return None
