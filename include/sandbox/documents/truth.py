"""What has to become of the sample objects in the warehouse; ``truth.jsonl`` holds it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sandbox.reading import DocumentType, Kind, empty_value

Status = Literal["PROCESSED", "FAILED", "SKIPPED"]

#: The emulator's workflows and what each extracts; None for those that classify first.
WORKFLOW_KINDS: Mapping[str, Kind | None] = {
    "workflow_invoices": "invoice",
    "workflow_receipts": "receipt",
    "workflow_statements": "bank_statement",
    "workflow_mixed": None,
    "workflow_mailroom": None,
}


@dataclasses.dataclass(frozen=True, slots=True)
class TruthPart:
    """One document of several in a file: its pages there, from 1, and what a perfect extractor returns."""

    type: DocumentType
    first_page: int
    last_page: int
    value: dict[str, Any] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """What has to become of an object on its way to the warehouse.

    :param key: the object's key.
    :param status: how its row ends when every run succeeds that can.
    :param reason: why it is not ``PROCESSED``; a failed run's ``failureReason`` or the pipeline's own reason.
    :param kind: what a classifier calls it; None for a document of no known kind and an unreadable file.
    :param value: what a perfect extractor for ``kind`` returns; None without a kind.
    :param code: for an unreadable file, the precise word within the failed run's ``failureMessage``.
    :param parts: of a file with several documents, what stands where; it has no kind of its own.
    """

    key: str
    status: Status = "PROCESSED"
    reason: str | None = None
    kind: Kind | None = None
    value: dict[str, Any] | None = None
    code: str | None = None
    parts: tuple[TruthPart, ...] = ()

    def to_json(self) -> str:
        """Return the truth as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_mapping(cls, record: Mapping[str, Any]) -> Truth:
        """Read a truth back from what :meth:`to_json` wrote."""
        return cls(**{**record, "parts": tuple(TruthPart(**part) for part in record.get("parts", ()))})


@dataclasses.dataclass(frozen=True, slots=True)
class SampleObject:
    """An object to be stored in S3, and the truth about it."""

    key: str
    data: bytes = dataclasses.field(repr=False)
    truth: Truth


@dataclasses.dataclass(frozen=True, slots=True)
class ExpectedResult:
    """What one document ends as in one workflow.

    :param kind: the extractor that ran; None when none did.
    :param value: what it returned.
    """

    key: str
    status: Status
    reason: str | None
    kind: Kind | None
    value: dict[str, Any] | None


def read_truth(path: Path) -> Iterator[Truth]:
    """Read a ``truth.jsonl``, line by line.

    :raises OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Truth.from_mapping(json.loads(line))


def expected_result(truth: Truth, workflow_id: str) -> ExpectedResult:
    """Return what a workflow makes of a document when nothing goes wrong on the way.

    A workflow that classifies extracts what it classified, and nothing from a document of no known kind. A
    workflow for one kind runs its extractor on every document and finds nothing in those of another kind.

    :raises ValueError: the emulator has no such workflow, or the file holds several documents.
    """
    if truth.parts:
        raise ValueError(f"{truth.key} holds several documents, which have a result each")
    if workflow_id not in WORKFLOW_KINDS:
        raise ValueError(f"unknown workflow {workflow_id!r}; known are {', '.join(WORKFLOW_KINDS)}")
    kind = WORKFLOW_KINDS[workflow_id] or truth.kind
    if truth.status != "PROCESSED" or kind is None:
        return ExpectedResult(truth.key, truth.status, truth.reason, None, None)
    value = truth.value if truth.kind == kind else empty_value(kind)
    return ExpectedResult(truth.key, truth.status, truth.reason, kind, value)
