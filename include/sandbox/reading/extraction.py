"""Extraction by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.reading.bank_statement import extract_bank_statement
from sandbox.reading.citations import to_extraction
from sandbox.reading.classification import classify
from sandbox.reading.finding import absent
from sandbox.reading.invoice import extract_invoice
from sandbox.reading.model import Extraction, Kind, ReadDocument
from sandbox.reading.receipt import extract_receipt
from sandbox.reading.schemas import empty_value

_EXTRACTORS: Mapping[Kind, Callable[[ReadDocument], dict[str, Any]]] = {
    "invoice": extract_invoice,
    "receipt": extract_receipt,
    "bank_statement": extract_bank_statement,
}


def extract(doc: ReadDocument, kind: Kind) -> Extraction:
    """Return the fields of ``kind`` that a document holds.

    A document of another kind has none of them: every field is null and every array empty.
    """
    if classify(doc).type == kind:
        return to_extraction(doc, _EXTRACTORS[kind](doc))
    return to_extraction(doc, _all_absent(empty_value(kind)))


def _all_absent(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _all_absent(field) for name, field in node.items()}
    return node if isinstance(node, list) else absent()
