"""The truth of sample objects: the rows that they must have in the warehouse (``truth.jsonl``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from sandbox.reading import DocumentType, Kind, empty_value

Status = Literal["PROCESSED", "FAILED", "SKIPPED"]

#: The kind that each of the emulator's workflows extracts; None if it classifies first.
WORKFLOW_KINDS: Mapping[str, Kind | None] = {
    "workflow_invoices": "invoice",
    "workflow_receipts": "receipt",
    "workflow_statements": "bank_statement",
    "workflow_mixed": None,
    "workflow_mailroom": None,
}


@dataclasses.dataclass(frozen=True, slots=True)
class TruthPart:
    """One of several documents in a file: its pages, counted from 1, and its value."""

    type: DocumentType
    first_page: int
    last_page: int
    value: dict[str, Any] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """The row that an object must have in the warehouse.

    :param key: the object's key.
    :param status: status of the row if nothing goes wrong on the way.
    :param reason: why it is not ``PROCESSED``: a failed run's ``failureReason`` or the pipeline's own reason.
    :param kind: the class of the document; None for an unknown kind and for an unreadable file.
    :param value: the correct extraction; None without a kind.
    :param code: for an unreadable file, the code in the failed run's ``failureMessage``.
    :param parts: the documents of a file with several; such a file has no kind.
    """

    key: str
    status: Status = "PROCESSED"
    reason: str | None = None
    kind: Kind | None = None
    value: dict[str, Any] | None = None
    code: str | None = None
    parts: tuple[TruthPart, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class SampleObject:
    """An object for S3 and its truth."""

    key: str
    data: bytes = dataclasses.field(repr=False)
    truth: Truth


@dataclasses.dataclass(frozen=True, slots=True)
class ExpectedResult:
    """The correct result of one document in one workflow.

    :param kind: the kind that was extracted; None if nothing was.
    :param value: the extracted fields.
    """

    key: str
    status: Status
    reason: str | None
    kind: Kind | None
    value: dict[str, Any] | None


def expected_result(truth: Truth, workflow_id: str) -> ExpectedResult:
    """Return the correct result of a document in a workflow.

    A workflow that classifies extracts nothing from a document of an unknown kind. A workflow for one kind
    runs its extractor on every document and finds no fields in those of another kind.

    :raises ValueError: the emulator has no such workflow, or the file contains several documents.
    """
    if truth.parts:
        raise ValueError(f"{truth.key} contains several documents; each of them has its own result")
    if workflow_id not in WORKFLOW_KINDS:
        raise ValueError(f"unknown workflow {workflow_id!r}; known are {', '.join(WORKFLOW_KINDS)}")
    kind = WORKFLOW_KINDS[workflow_id] or truth.kind
    if truth.status != "PROCESSED" or kind is None:
        return ExpectedResult(truth.key, truth.status, truth.reason, None, None)
    value = truth.value if truth.kind == kind else empty_value(kind)
    return ExpectedResult(truth.key, truth.status, truth.reason, kind, value)
