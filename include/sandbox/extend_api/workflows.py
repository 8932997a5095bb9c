"""The workflows this workspace has: what runs through them, by which processors, in which versions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sandbox.reading import Kind

StepType = Literal["EXTRACT", "CLASSIFY", "CONDITIONAL_EXTRACT", "HUMAN_REVIEW"]

#: When everything here was set up: 2026-02-09T09:00:00Z in milliseconds.
CREATED_AT = 1_770_627_600_000
PUBLISHED_VERSIONS = ("1", "2")
LATEST_VERSION = PUBLISHED_VERSIONS[-1]
VERSIONS = (*PUBLISHED_VERSIONS, "draft")
KINDS: tuple[Kind, ...] = ("invoice", "receipt", "bank_statement")
CLASSES: tuple[str, ...] = (*KINDS, "other")


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow and the processor it calls.

    :param kind: what an extracting step looks for; None on a classifying one.
    """

    id: str
    name: str
    type: StepType
    processor_id: str
    processor_name: str
    kind: Kind | None = None

    @property
    def processor_version_id(self) -> str:
        """Id of the processor's version; the emulator has one of each."""
        prefix = "clv" if self.type == "CLASSIFY" else "exv"
        return f"{prefix}_{self.processor_id.split('_', 1)[1]}_1"


@dataclasses.dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow: steps in order; after a classification only the extraction of that class runs."""

    id: str
    name: str
    steps: tuple[Step, ...]

    def version_id(self, version: str) -> str:
        """Return the id of a version, e.g. ``workflow_version_invoices_2``."""
        return f"workflow_version_{self.id.removeprefix('workflow_')}_{version}"

    @property
    def classifier(self) -> Step | None:
        """The step that classifies, if there is one."""
        return next((step for step in self.steps if step.type == "CLASSIFY"), None)

    def extractor(self, kind: str | None) -> Step | None:
        """The step that extracts documents of ``kind``, if there is one."""
        return next((step for step in self.steps if step.kind == kind and step.kind), None)


_PLURALS: Mapping[Kind, str] = {"invoice": "invoices", "receipt": "receipts", "bank_statement": "statements"}


def _extraction(kind: Kind, *, conditional: bool = False) -> Step:
    title = kind.replace("_", " ")
    return Step(
        id=f"step_extract_{kind}" + ("_if_classified" if conditional else ""),
        name=f"Extract {title}",
        type="CONDITIONAL_EXTRACT" if conditional else "EXTRACT",
        processor_id=f"ex_{_PLURALS[kind]}",
        processor_name=title.capitalize(),
        kind=kind,
    )


WORKFLOWS: Mapping[str, Workflow] = {
    workflow.id: workflow
    for workflow in (
        Workflow("workflow_invoices", "Invoices", (_extraction("invoice"),)),
        Workflow("workflow_receipts", "Receipts", (_extraction("receipt"),)),
        Workflow("workflow_statements", "Bank statements", (_extraction("bank_statement"),)),
        Workflow(
            "workflow_mixed",
            "Mixed documents",
            (
                Step("step_classify", "Classify", "CLASSIFY", "cl_documents", "Document type"),
                *(_extraction(kind, conditional=True) for kind in KINDS),
            ),
        ),
    )
}


@functools.cache
def extract_config(kind: Kind) -> dict[str, Any]:
    """Return the extractor's configuration, its JSON Schema under ``schema``."""
    from sandbox.reading import SCHEMAS

    return {"baseProcessor": "extraction_performance", "baseVersion": "4.6.0", "schema": dict(SCHEMAS[kind])}


@functools.cache
def classify_config() -> dict[str, Any]:
    """Return the classifier's configuration: its classes and their ids."""
    described = {kind: f"The document is a {kind.replace('_', ' ')}." for kind in CLASSES}
    described["other"] = "None of the other classes."
    return {
        "baseProcessor": "classification_performance",
        "baseVersion": "3.2.0",
        "classifications": [
            {"id": _class_id(kind), "type": kind, "description": text} for kind, text in described.items()
        ],
    }


def classification(kind: str, confidence: float) -> dict[str, Any]:
    """Return what a classify run puts out for a document of ``kind``."""
    return {"id": _class_id(kind), "type": kind, "confidence": confidence, "insights": []}


def _class_id(kind: str) -> str:
    return f"class_{kind}"
