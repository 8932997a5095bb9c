"""The workflows this workspace has: what runs through them, by which processors, in which versions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from sandbox.reading import Kind

StepType = Literal[
    "PARSE",
    "CLASSIFY",
    "SPLIT",
    "EXTRACT",
    "CONDITIONAL_EXTRACT",
    "MERGE_EXTRACT",
    "RULE_VALIDATION",
    "ROUTER",
    "HUMAN_REVIEW",
]
ProcessorKind = Literal["parse", "classify", "split", "extract"]

#: When everything here was set up: 2026-02-09T09:00:00Z in milliseconds.
CREATED_AT = 1_770_627_600_000
PUBLISHED_VERSIONS = ("1", "2")
LATEST_VERSION = PUBLISHED_VERSIONS[-1]
VERSIONS = (*PUBLISHED_VERSIONS, "draft")
KINDS: tuple[Kind, ...] = ("invoice", "receipt", "bank_statement")
CLASSES: tuple[str, ...] = (*KINDS, "other")
#: What reading a file is charged as.
PARSE_PRODUCT: Final = "parse_performance"
#: What a file is that holds more than one document.
SEVERAL: Final = "several_documents"

_PROCESSOR_KINDS: Final[Mapping[StepType, ProcessorKind]] = {
    "PARSE": "parse",
    "CLASSIFY": "classify",
    "SPLIT": "split",
    "EXTRACT": "extract",
    "CONDITIONAL_EXTRACT": "extract",
    "MERGE_EXTRACT": "extract",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One step of a workflow and the processor it calls, if it calls one.

    :param kind: what an extracting step looks for, and what a validating one knows the rules of.
    :param fields: those of the kind's fields that its extractor has; none means all.
    :param classes: what a classifier or a splitter tells apart.
    :param only: the class of the documents it is for; None means all.
    :param typed: whether its extractor's schema has Extend's own types, see
        :mod:`sandbox.extend_api.workflows.typed_fields`.
    :param merges: the steps whose extractions it makes one of.
    """

    id: str
    name: str
    type: StepType
    processor_id: str = ""
    processor_name: str = ""
    kind: Kind | None = None
    fields: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    only: str | None = None
    typed: bool = False
    merges: tuple[Step, ...] = ()

    @property
    def processor_kind(self) -> ProcessorKind | None:
        """What its result is a run of; None where it calls no processor."""
        return _PROCESSOR_KINDS.get(self.type)

    @property
    def processor_version_id(self) -> str:
        """Id of the processor's version; the emulator has one of each."""
        prefix, name = self.processor_id.split("_", 1)
        return f"{prefix}v_{name}_1"


@dataclasses.dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow: steps in order, each for the documents of its class; what was split goes on by itself."""

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
        only=kind if conditional else None,
    )


def _classification(processor: str, name: str, classes: tuple[str, ...]) -> Step:
    return Step("step_classify", "Classify", "CLASSIFY", f"cl_{processor}", name, classes=classes)


def _of_invoice(name: str, processor: str, title: str, fields: tuple[str, ...]) -> Step:
    return Step(
        f"step_{name}",
        f"Extract {title.lower()}",
        "EXTRACT",
        processor,
        title,
        kind="invoice",
        fields=fields,
        only="invoice",
    )


def _validation(kind: Kind) -> Step:
    title = kind.replace("_", " ")
    return Step(f"step_check_{kind}", f"Check {title}", "RULE_VALIDATION", kind=kind, only=kind)


def _mailroom() -> Workflow:
    """Whatever comes by mail, several documents scanned into one file included."""
    lines = ("line_items", "subtotal", "tax_rate", "tax", "total")
    head = ("invoice_number", "invoice_date", "due_date", "currency", "vendor", "customer")
    halves = (
        _of_invoice("invoice_head", "ex_invoice_head", "Invoice head", head),
        _of_invoice("invoice_lines", "ex_invoice_lines", "Invoice lines", lines),
    )
    steps = (
        Step("step_parse", "Parse", "PARSE"),
        _classification("mail", "Mail", (*CLASSES, SEVERAL)),
        Step("step_split", "Split", "SPLIT", "spl_mail", "Mail splitter", classes=CLASSES, only=SEVERAL),
        *halves,
        Step("step_merge", "Invoice", "MERGE_EXTRACT", kind="invoice", only="invoice", merges=halves),
        *(_extraction(kind, conditional=True) for kind in KINDS if kind != "invoice"),
        _validation("invoice"),
        _validation("bank_statement"),
        Step("step_route", "Route payment", "ROUTER", kind="invoice", only="invoice"),
    )
    return Workflow("workflow_mailroom", "Mailroom", steps)


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
                _classification("documents", "Document type", CLASSES),
                *(_extraction(kind, conditional=True) for kind in KINDS),
            ),
        ),
        _mailroom(),
        Workflow(
            "workflow_typed",
            "Invoices with types",
            (
                Step(
                    "step_typed",
                    "Extract",
                    "EXTRACT",
                    "ex_typed",
                    "Typed invoice",
                    kind="invoice",
                    typed=True,
                ),
            ),
        ),
    )
}


def product(step: Step) -> str:
    """Return what a step's processor is charged as."""
    config = processor_config(step)
    return str(config.get("baseProcessor") or config["engine"])


@functools.cache
def processor_config(step: Step) -> dict[str, Any]:
    """Return the configuration of a step's processor: an extractor's has its JSON Schema."""
    if step.type == "PARSE":
        return {
            "target": "markdown",
            "chunkingStrategy": {"type": "page"},
            "engine": PARSE_PRODUCT,
        }
    if step.kind is not None:
        return {
            "baseProcessor": "extraction_performance",
            "baseVersion": "4.6.0",
            "schema": _schema(step.kind, step.fields, typed=step.typed),
        }
    classes = [
        {"id": _class_id(name), "type": name, "description": _described(name)} for name in step.classes
    ]
    if step.type == "SPLIT":
        return {
            "baseProcessor": "splitting_performance",
            "baseVersion": "1.6.2",
            "splitClassifications": classes,
        }
    return {"baseProcessor": "classification_performance", "baseVersion": "3.2.0", "classifications": classes}


def _schema(kind: Kind, fields: tuple[str, ...], *, typed: bool) -> dict[str, Any]:
    from sandbox.extend_api.workflows.typed_fields import typed_schema
    from sandbox.reading import SCHEMAS

    schema = dict(SCHEMAS[kind])
    if fields:
        schema["properties"] = {name: schema["properties"][name] for name in fields}
        schema["required"] = list(fields)
    return typed_schema(schema) if typed else schema


def _described(kind: str) -> str:
    if kind == "other":
        return "None of the other classes."
    return (
        "The file holds several documents."
        if kind == SEVERAL
        else f"The document is a {kind.replace('_', ' ')}."
    )


def classification(kind: str, confidence: float) -> dict[str, Any]:
    """Return what a classify run puts out for a document of ``kind``."""
    return {"id": _class_id(kind), "type": kind, "confidence": confidence, "insights": []}


def split(kind: str, first_page: int, last_page: int) -> dict[str, Any]:
    """Return what a split run puts out for pages that are a document of ``kind``, as far as that tells."""
    return {
        "classificationId": _class_id(kind),
        "type": kind,
        "startPage": first_page,
        "endPage": last_page,
    }


def _class_id(kind: str) -> str:
    return f"class_{kind}"
