"""The workflows of the emulator and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sandbox.extend_api.workflows.steps import Step, Workflow
from sandbox.reading.model import Kind

#: Creation time of all workflows and processors: 2026-02-09T09:00:00Z in milliseconds.
CREATED_AT = 1_770_627_600_000
PUBLISHED_VERSIONS = ("1", "2")
LATEST_VERSION = PUBLISHED_VERSIONS[-1]
VERSIONS = (*PUBLISHED_VERSIONS, "draft")
KINDS: tuple[Kind, ...] = ("invoice", "receipt", "bank_statement")
CLASSES: tuple[str, ...] = (*KINDS, "other")
#: The class of a file with more than one document.
SEVERAL: Final = "several_documents"

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
    """Return the workflow for mail, which may have several documents in one file."""
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
