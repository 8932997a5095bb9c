"""Reviews of a run, as in the dashboard, and corrections of outputs, as in the older API."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import ApiError, InvalidRequest
from sandbox.extend_api.state import model
from sandbox.extend_api.state.model import Run, StepRun, now_ms
from sandbox.extend_api.workflows.processors import classification

_PATH_PART = re.compile(r"[^.\[\]]+|\[\d+\]")


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The decision of a reviewer.

    :param decision: ``approve`` ends the run as PROCESSED, ``reject`` as REJECTED; ``reclassify`` processes
        it again with another class.
    :param edits: corrected values by path, e.g. ``{"line_items[0].amount": 12.5}``; with ``approve``.
    :param extraction: id of the extract run to edit; default: the first one.
    :param note: the reason; ``rejectionNote`` of a rejection.
    :param type: the correct class; with ``reclassify``.
    """

    decision: Literal["approve", "reject", "reclassify"]
    reviewer: str = "reviewer@example.com"
    edits: dict[str, Any] = {}
    extraction: str | None = None
    note: str | None = None
    type: str | None = None


def decide(emulator: Emulator, run: Run, review: Review) -> None:
    """Apply the decision to a run in NEEDS_REVIEW.

    :raises ApiError: the run is not in review (409), or an edit or the class is wrong (422).
    """
    if run.status != model.NEEDS_REVIEW:
        raise ApiError(409, "INVALID_REQUEST", f"The run is {run.status}, not {model.NEEDS_REVIEW}.")
    if review.decision == "reclassify":
        _reclassify(emulator, run, review.type)
        return
    if review.decision == "approve":
        _approve(run, review)
    run.reviewed, run.reviewed_at, run.reviewed_by = True, now_ms(), review.reviewer
    run.rejection_note = review.note if review.decision == "reject" else None
    run.status = model.PROCESSED if review.decision == "approve" else model.REJECTED
    run.ended_at = run.reviewed_at
    emulator.store.touch(run)


def _approve(run: Run, review: Review) -> None:
    extraction = next(
        (
            step
            for step in run.steps
            if step.step.processor_kind == "extract"
            and step.output
            and review.extraction in (None, step.processor_run_id)
        ),
        None,
    )
    if review.edits:
        if extraction is None:
            raise ApiError(422, "INVALID_REQUEST", "The run has no such extraction to edit.")
        _edit(extraction, review.edits, review.note)
    for step in run.steps:
        step.reviewed, step.status, step.updated_at = True, model.PROCESSED, now_ms()


def _edit(step: StepRun, edits: Mapping[str, Any], note: str | None) -> None:
    output = msgspec.json.decode(step.output or b"{}")
    step.edits = {
        path: {
            "originalValue": _replace(output["value"], path, value),
            "editedValue": value,
            "notes": note,
            "page": _cited_page(output, path),
            "fieldType": None,
        }
        for path, value in edits.items()
    }
    step.reviewed_output = msgspec.json.encode(output)


def _replace(value: Any, path: str, new: Any) -> Any:
    """Replace the value at ``path`` and return the old one; raises ApiError (422) for an unknown path."""
    parts = [int(part[1:-1]) if part[0] == "[" else part for part in _PATH_PART.findall(path)]
    try:
        for part in parts[:-1]:
            value = value[part]
        old = copy.deepcopy(value[parts[-1]])
        value[parts[-1]] = new
    except (KeyError, IndexError, TypeError):
        raise ApiError(422, "INVALID_REQUEST", f"The output has no value at {path!r}.") from None
    return old


def _cited_page(output: Mapping[str, Any], path: str) -> int | None:
    spelled = {_parts(key): about for key, about in output.get("metadata", {}).items()}
    citations = spelled.get(_parts(path), {}).get("citations") or [{}]
    return (citations[0].get("page") or {}).get("number")


def _parts(path: str) -> tuple[str, ...]:
    """Return the parts of a path in either spelling."""
    return tuple(part.strip("[]") for part in _PATH_PART.findall(path))


def _reclassify(emulator: Emulator, run: Run, kind: str | None) -> None:
    """Process the run again with the given class; the results of its steps are dropped."""
    classifier = run.workflow.classifier
    if classifier is None:
        raise ApiError(422, "INVALID_REQUEST", "The workflow has no classifier, so it cannot reclassify.")
    if kind is None or kind not in classifier.classes:
        message = f"The type must be one of {', '.join(classifier.classes)}."
        raise ApiError(422, "INVALID_REQUEST", message)
    run.outputs = {**(run.outputs or {}), classifier.processor_id: classification(kind, 1.0)}
    run.steps = ()
    run.status = model.PROCESSING
    # A rule for first attempts does not apply to the second pass.
    run.attempt += 1
    emulator.store.touch(run)
    emulator.engine.submit(run)


def correct(step: StepRun, reviewed_output: Mapping[str, Any]) -> None:
    """Apply a caller's corrections to a result; omitted fields keep their values.

    :raises InvalidRequest: the step is no extraction, or the correction has no value.
    """
    value = reviewed_output.get("value")
    if step.output is None or step.step.processor_kind != "extract" or not isinstance(value, dict):
        raise InvalidRequest("Only an extraction's value can be corrected", "reviewedOutput")
    output = msgspec.json.decode(step.reviewed_output or step.output)
    output["value"] = {**(output["value"] or {}), **value}
    step.reviewed_output = msgspec.json.encode(output)
    step.reviewed, step.updated_at = True, now_ms()
