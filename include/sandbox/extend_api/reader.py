"""The work on one run's documents: read, classify, extract. Runs in a process of its own.

Everything here is plain data in, plain data out, so that it can cross the process boundary.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sandbox import reading
from sandbox.extend_api import workflows
from sandbox.reading import Kind


@dataclasses.dataclass(frozen=True, slots=True)
class Input:
    """One document to read.

    :param content: its bytes, or where they are on disk.
    """

    file_id: str
    name: str
    content: bytes | Path
    password: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted of the documents.

    :param kind: what to extract; None means that the classification decides.
    :param outputs: results given beforehand, by processor id.
    :param classifier_id: processor that classifies, where one does.
    :param extractor_ids: processor per kind.
    """

    kind: Kind | None
    classifier_id: str | None
    extractor_ids: Mapping[Kind, str]
    outputs: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """What was found.

    :param file_types: Extend's type of each document, e.g. ``PDF``.
    :param page_counts: pages of each document.
    :param classification: encoded classify output, where one was asked for.
    :param kind: what was extracted; None if nothing was.
    :param extraction: encoded extract output, where there is one.
    """

    file_types: tuple[str, ...]
    page_counts: tuple[int, ...]
    classification: bytes | None
    kind: Kind | None
    extraction: bytes | None


class ReadingFailed(Exception):  # noqa: N818 - reads as what happened
    """A document cannot be read; ``code`` is Extend's word for why, e.g. ``CORRUPT_FILE``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def exit_with_parent() -> None:
    """Make this worker process end when the server does, even if that one is killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()


def work(inputs: tuple[Input, ...], plan: Plan) -> Reading:
    """Read the documents and carry out the plan; raises ReadingFailed."""
    documents = [_read(item) for item in inputs]
    kind, classification = plan.kind, None
    if plan.classifier_id is not None:
        classification = _classification(documents[0], plan.outputs.get(plan.classifier_id))
        kind = next((kind for kind in plan.extractor_ids if kind == classification["type"]), None)
    extraction = None
    if kind is not None:
        extractions = [
            _extraction(document, kind, item.file_id)
            for document, item in zip(documents, inputs, strict=True)
        ]
        given = plan.outputs.get(plan.extractor_ids[kind])
        extraction = _merged(extractions) if given is None else {"metadata": {}, **given}
    return Reading(
        file_types=tuple(document.file_type for document in documents),
        page_counts=tuple(len(document.pages) for document in documents),
        classification=msgspec.json.encode(classification) if classification else None,
        kind=kind,
        extraction=msgspec.json.encode(extraction) if extraction else None,
    )


def _read(item: Input) -> reading.ReadDocument:
    data = item.content.read_bytes() if isinstance(item.content, Path) else item.content
    try:
        return reading.read_document(data, item.name, password=item.password)
    except reading.UnreadableDocument as error:
        raise ReadingFailed(error.code, str(error)) from None


def _classification(document: reading.ReadDocument, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the document is; what was given beforehand is certain."""
    if given is not None:
        return {**workflows.classification(given["type"], 1.0), **given}
    found = reading.classify(document)
    return workflows.classification(found.type, found.confidence)


def _extraction(document: reading.ReadDocument, kind: Kind, file_id: str) -> dict[str, Any]:
    """Return an extraction as output: citations name the file, another kind of document gives doubt."""
    extraction, found = reading.extract(document, kind), reading.classify(document)
    trust = 1.0 if found.type == kind else 1.0 - found.confidence
    metadata = {
        path: {
            **entry,
            "logprobsConfidence": _scaled(entry.get("logprobsConfidence"), trust),
            "citations": [{"fileId": file_id, **citation} for citation in entry.get("citations") or ()],
        }
        for path, entry in extraction.metadata.items()
    }
    return {"value": extraction.value, "metadata": metadata}


def _scaled(confidence: float | None, trust: float) -> float | None:
    return None if confidence is None else round(confidence * trust, 3)


def _merged(extractions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one output of several documents: each field from the first document that has it."""
    merged = extractions[0]
    for other in extractions[1:]:
        for field, value in other["value"].items():
            if merged["value"].get(field) in (None, []) and value not in (None, []):
                merged["value"][field] = value
                merged["metadata"] = {
                    **{path: entry for path, entry in merged["metadata"].items() if not _under(path, field)},
                    **{path: entry for path, entry in other["metadata"].items() if _under(path, field)},
                }
    return merged


def _under(path: str, field: str) -> bool:
    return path == field or path.startswith((f"{field}.", f"{field}["))
