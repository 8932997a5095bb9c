"""The estimate of what a plan costs, made from what was charged before.

Extend reports the cost of a document after processing it, so the estimate is based on the charges of landed
documents. Without any, the cost is unknown, and an unknown cost never counts as small.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from extend_pipeline.warehouse.records import Charge


def file_type(name: str) -> str:
    """Return the extension of a name in lower case, without the dot."""
    return posixpath.splitext(name)[1].removeprefix(".").lower()


@dataclasses.dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of the documents to be sent.

    :ivar credits: None if the cost is unknown.
    :ivar based_on: number of landed documents whose charges it is based on.
    :ivar same_version: whether these were sent to the version asked for, or to other versions.
    :ivar unseen: number of documents whose file type has no charges; they count as the average document.
    """

    credits: float | None
    based_on: int = 0
    same_version: bool = True
    unseen: int = 0

    @classmethod
    def of(cls, to_send: Mapping[str, int], charges: Iterable[Charge]) -> Estimate:
        """Estimate by the average charge per file type, of the version asked for if it has charges.

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
        """Return the estimate and what it is based on, for a person."""
        if self.credits is None:
            return "unknown, because no document of this workflow has been charged before"
        if not self.based_on:
            return "0"
        whose = "of this workflow and version" if self.same_version else "of other versions of this workflow"
        unseen = f"; {self.unseen:,} of a file type not seen before, at the average" if self.unseen else ""
        basis = f"{self.based_on:,} landed documents {whose}, by file type{unseen}"
        return f"about {self.credits:,.10g}, from {basis}"
