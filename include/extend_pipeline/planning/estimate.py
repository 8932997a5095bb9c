"""The estimate of what a plan costs, made from what was charged before.

Extend says what a document costs when it has been processed, so an estimate rests on what was charged for
documents that have landed. Without any, the cost is unknown, and unknown is never taken for little.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from extend_pipeline.warehouse.records import Charge


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
