"""What the pipeline has to land, read from ``truth.jsonl``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sandbox.documents.model import Status, Truth
from sandbox.reading import Kind, empty_value

#: The emulator's workflows and what each extracts; None for those that classify first.
WORKFLOW_KINDS: Mapping[str, Kind | None] = {
    "workflow_invoices": "invoice",
    "workflow_receipts": "receipt",
    "workflow_statements": "bank_statement",
    "workflow_mixed": None,
    "workflow_mailroom": None,
}


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
