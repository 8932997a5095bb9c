"""From a run's steps and files to plain records; extracted values are not among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from extend_provider.client.models import ProcessorResult, Split, StepRun, StoredFile, WorkflowRun

R = TypeVar("R", StoredFile, Split)

_NO_SPLIT: Final = Split()


def step_record(run: WorkflowRun, step: StepRun) -> dict[str, Any]:
    """Return the row of ``steps``, without its position in the part."""
    result = step.result or ProcessorResult(kind="parse", id=None, status=None)
    classification = result.classification or {}
    return {
        "step_run_id": step.id,
        "step_type": step.type,
        "step_name": step.name,
        "status": step.status,
        "file_id": file_of(run, step),
        "processor_id": result.processor_id,
        "processor_name": result.processor_name,
        "processor_version": result.processor_version,
        "processor_run_id": result.id,
        "classification": classification.get("type"),
        "classification_confidence": classification.get("confidence"),
        "passed": step.passed,
        "branch": step.branch,
        "failure_reason": result.failure_reason,
        "failure_message": result.failure_message,
        "reviewed": result.reviewed,
        "edited": result.edited,
        "credits": result.credits,
        "dashboard_url": result.dashboard_url,
        "output": step.output,
    }


def file_of(run: WorkflowRun, step: StepRun) -> str | None:
    """Return the one file that a step worked on; None if there were several, or it is unknown."""
    files = step.files or (() if run.files and _is_split(run) else run.files)
    return files[0].id if len(files) == 1 else None


def _is_split(run: WorkflowRun) -> bool:
    """Whether a step that names no file may have worked on another file than the run's own."""
    return any(step.result.splits for step in run.steps if step.result is not None)


def check_records(step: StepRun) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``checks``: the rules of a validation."""
    for check_idx, check in enumerate(step.checks):
        yield {"check_idx": check_idx, **msgspec.structs.asdict(check)}


def file_records(run: WorkflowRun) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``files``: the document's own, and what it was split into, with its place in it.

    Both the file and the splitter that made it contain its place; the splitter has more.
    """
    files: dict[str, StoredFile] = {}
    for file in (*run.files, *(file for step in run.steps for file in step.files)):
        files[file.id] = _together(files.get(file.id), file)
    splits: dict[str, Split] = {}
    for step in run.steps:
        parents = step.files or run.files
        parent_id = parents[0].id if len(parents) == 1 else None
        for split in step.result.splits if step.result else ():
            if split.file_id is not None:
                splits[split.file_id] = split
                stored = StoredFile(split.file_id, parent_file_id=parent_id)
                files[split.file_id] = _together(files.get(split.file_id), stored)
    for file in files.values():
        splits[file.id] = _together(splits.get(file.id), file.split or _NO_SPLIT)
    for file in files.values():
        split = splits[file.id]
        yield {
            "file_id": file.id,
            "name": file.name or split.name,
            "type": file.type,
            "page_count": file.page_count,
            "parent_file_id": file.parent_file_id,
            "split_id": split.id,
            "split_type": split.type,
            "split_identifier": split.identifier,
            "start_page": split.start_page,
            "end_page": split.end_page,
            "document_page": _document_page(file, files, splits),
            "classification_id": split.classification_id,
            "observation": split.observation,
        }


def _document_page(
    file: StoredFile, files: Mapping[str, StoredFile], splits: Mapping[str, Split]
) -> int | None:
    """Return the page of the document's own file that a file begins on, through all that it was split off."""
    page = 1
    for _ in files:  # at most once per file, in case they form a cycle
        if file.parent_file_id is None:
            return page
        start = splits[file.id].start_page
        parent = files.get(file.parent_file_id)
        if start is None or parent is None:
            return None
        page, file = page + start - 1, parent
    return None


def edits_of(run: WorkflowRun) -> dict[str, Any] | None:
    """Return what reviewers changed, by processor run and field, with their notes."""
    results: Sequence[ProcessorResult] = [step.result for step in run.steps if step.result is not None]
    return {result.id or "": result.edits for result in results if result.edits} or None


def _together(first: R | None, other: R) -> R:
    """Return the first one, completed with what only the other one has."""
    if first is None:
        return other
    known = {name: value for name, value in msgspec.structs.asdict(first).items() if value is not None}
    return msgspec.structs.replace(other, **known)
