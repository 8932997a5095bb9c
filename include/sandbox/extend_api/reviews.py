"""A reviewer's decision on a run in NEEDS_REVIEW: what the dashboard does, and the API cannot."""

from __future__ import annotations

import copy
import re
from typing import Any, Literal

import msgspec

from sandbox.extend_api import model
from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import ApiError
from sandbox.extend_api.model import Run, StepRun, now_ms
from sandbox.extend_api.workflows import classification_id

_PATH_PART = re.compile(r"[^.\[\]]+|\[\d+\]")


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the reviewer decides.

    :param decision: ``approve`` ends the run as PROCESSED, ``reject`` as REJECTED, ``reclassify`` sends it back
        to PROCESSING with another class.
    :param edits: corrected values by path, e.g. ``{"line_items[0].amount": 12.5}``; with ``approve``.
    :param note: why; the ``rejectionNote`` of a rejection.
    :param type: the right class; with ``reclassify``.
    """

    decision: Literal["approve", "reject", "reclassify"]
    reviewer: str = "reviewer@example.com"
    edits: dict[str, Any] = {}
    note: str | None = None
    type: str | None = None


def decide(emulator: Emulator, run: Run, review: Review) -> None:
    """Carry the decision out; raises ApiError (409 if the run is not in review, 422 if an edit does not fit)."""
    if run.status != model.NEEDS_REVIEW:
        raise ApiError(409, "INVALID_REQUEST", f"The run is {run.status}, not {model.NEEDS_REVIEW}.")
    if review.decision == "reclassify":
        _reclassify(emulator, run, review)
        return
    if review.decision == "approve":
        for step in run.steps:
            _approve(step, review)
    run.reviewed, run.reviewed_at, run.reviewed_by = True, now_ms(), review.reviewer
    run.rejection_note = review.note if review.decision == "reject" else None
    run.status = model.PROCESSED if review.decision == "approve" else model.REJECTED
    run.ended_at = run.reviewed_at
    emulator.store.touch(run)


def _approve(step: StepRun, review: Review) -> None:
    step.reviewed, step.updated_at = True, now_ms()
    if step.status == "WAITING":
        step.status = model.PROCESSED
    if not review.edits or step.step.kind is None or step.output is None:
        return
    output = msgspec.json.decode(step.output)
    step.edits = {}
    for path, value in review.edits.items():
        step.edits[path] = {
            "originalValue": _replace(output["value"], path, value),
            "editedValue": value,
            "notes": review.note,
            "page": None,
            "fieldType": None,
        }
    step.reviewed_output = msgspec.json.encode(output)


def _replace(value: Any, path: str, new: Any) -> Any:
    """Put ``new`` at ``path`` and return what was there; raises ApiError (422) if there is no such place."""
    parts = [int(part[1:-1]) if part[0] == "[" else part for part in _PATH_PART.findall(path)]
    try:
        for part in parts[:-1]:
            value = value[part]
        old = copy.deepcopy(value[parts[-1]])
        value[parts[-1]] = new
    except (KeyError, IndexError, TypeError):
        raise ApiError(422, "INVALID_REQUEST", f"The output has no value at {path!r}.") from None
    return old


def _reclassify(emulator: Emulator, run: Run, review: Review) -> None:
    """Start over at the classification, with the class that the reviewer says; later steps' results are dropped."""
    classifier = run.workflow.classifier
    if classifier is None or review.type is None:
        raise ApiError(422, "INVALID_REQUEST", "Reclassifying takes a workflow that classifies, and a type.")
    output = {"id": classification_id(review.type), "type": review.type, "confidence": 1.0, "insights": []}
    run.outputs = {**(run.outputs or {}), classifier.processor_id: output}
    run.steps = ()
    run.status = model.PROCESSING
    run.attempt += 1
    emulator.store.touch(run)
    emulator.engine.submit(run)
