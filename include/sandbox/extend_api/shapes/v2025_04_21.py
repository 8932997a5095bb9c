"""API version 2025-04-21: answers have ``success``, missing values are omitted, results in ``outputs``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sandbox.extend_api.errors import ApiError, InvalidRequest
from sandbox.extend_api.shapes import common
from sandbox.extend_api.state.model import FileRef, Run, RunOrder, StepRun, StoredFile, iso
from sandbox.extend_api.workflows.catalogue import WORKFLOWS
from sandbox.extend_api.workflows.processors import processor_config
from sandbox.extend_api.workflows.steps import ProcessorKind, Step


def _legacy_id(prefix: str, identifier: str) -> str:
    return f"{prefix}_{identifier.split('_', 1)[1]}"


def processor_run_id(step: StepRun) -> str:
    """Return the id of a processor run in this version, e.g. ``dpr_Xj8mK2pL9nR4vT7qY5wZ``."""
    return _legacy_id("dpr", step.processor_run_id)


MAX_FILES = 50
#: Processor ids of this version and those of the newer one: ``dp_invoices`` is ``ex_invoices`` there.
PROCESSORS = {
    _legacy_id("dp", step.processor_id): step.processor_id
    for workflow in WORKFLOWS.values()
    for step in workflow.steps
    if step.processor_id
}
#: Types of the steps that are in ``stepRuns``.
STEP_TYPES = frozenset(("RULE_VALIDATION",))
TYPES: Mapping[ProcessorKind, str] = {"classify": "CLASSIFY", "split": "SPLITTER", "extract": "EXTRACT"}


class _File(msgspec.Struct):
    fileName: str | None = None  # noqa: N815 - the wire's name
    fileUrl: str | None = None  # noqa: N815 - the wire's name
    fileId: str | None = None  # noqa: N815 - the wire's name
    outputs: list[common.GivenOutput] | None = None

    def ref(self, path: str) -> FileRef:
        return common.checked_file(FileRef(url=self.fileUrl, id=self.fileId, name=self.fileName), path)

    def given_outputs(self) -> dict[str, Any]:
        return {
            PROCESSORS.get(given.processorId, given.processorId): given.output for given in self.outputs or ()
        }


class _RunBody(msgspec.Struct):
    workflowId: str  # noqa: N815 - the wire's name
    version: str | None = None
    files: list[_File] | None = None
    rawTexts: list[str] | None = None  # noqa: N815 - the wire's name
    name: str | None = None
    priority: int | None = None
    metadata: dict[str, Any] | None = None


class _Input(msgspec.Struct):
    file: _File | None = None
    rawText: str | None = None  # noqa: N815 - the wire's name
    metadata: dict[str, Any] | None = None
    secrets: dict[str, Any] | None = None

    def ref(self, path: str) -> FileRef:
        if (self.file is None) == (self.rawText is None):
            raise InvalidRequest("Exactly one of file and rawText is required", path)
        return self.file.ref(f"{path}.file") if self.file else FileRef(text=self.rawText)


class _BatchBody(msgspec.Struct):
    workflowId: str  # noqa: N815 - the wire's name
    inputs: list[_Input]
    version: str | None = None


_run_body = msgspec.json.Decoder(_RunBody)
_batch_body = msgspec.json.Decoder(_BatchBody)


def read_run_request(body: bytes) -> list[RunOrder]:
    """Read ``POST /workflow_runs``: one run per file or raw text; raises InvalidRequest."""
    request = common.decode(_run_body, body)
    if bool(request.files) == bool(request.rawTexts):
        raise InvalidRequest("Exactly one of files and rawTexts is required", "files")
    files = request.files or []
    if len(files) > MAX_FILES:
        raise InvalidRequest(f"Expected at most {MAX_FILES} files", "files")
    inputs = [(file.ref(f"files[{index}]"), file.given_outputs()) for index, file in enumerate(files)] + [
        (common.checked_file(FileRef(text=text), f"rawTexts[{index}]"), {})
        for index, text in enumerate(request.rawTexts or ())
    ]
    priority = common.checked_priority(request.priority, common.DEFAULT_RUN_PRIORITY)
    metadata = common.checked_metadata(request.metadata)
    return [
        RunOrder(
            workflow_id=request.workflowId,
            version=request.version,
            files=(ref,),
            priority=priority,
            metadata=metadata,
            name=request.name,
            outputs=outputs,
        )
        for ref, outputs in inputs
    ]


def read_batch_request(body: bytes) -> list[RunOrder]:
    """Read ``POST /workflow_runs/batch``: the priority is always 90; raises InvalidRequest."""
    request = common.decode(_batch_body, body)
    common.checked_inputs(request.inputs)
    return [
        RunOrder(
            workflow_id=request.workflowId,
            version=request.version,
            files=(item.ref(f"inputs[{index}]"),),
            priority=common.DEFAULT_BATCH_PRIORITY,
            metadata=common.checked_metadata(item.metadata, f"inputs[{index}].metadata"),
        )
        for index, item in enumerate(request.inputs)
    ]


def created(runs: Sequence[Run]) -> Any:
    """Return the answer to ``POST /workflow_runs``: one run per file."""
    return {"success": True, "workflowRuns": [_run(run) for run in runs]}


def batch_created(batch_id: str) -> Any:
    """Return the answer to ``POST /workflow_runs/batch``."""
    return {"success": True, "batchId": batch_id}


def run(run: Run) -> Any:
    """Return the answer to get, update and cancel."""
    return {"success": True, "workflowRun": _run(run)}


def _run(run: Run) -> dict[str, Any]:
    return common.without_none(
        {
            "object": "workflow_run",
            "id": run.id,
            "name": run.name,
            "url": common.run_url(run),
            "status": run.status,
            "metadata": common.raw(run.metadata),
            "batchId": run.batch_id,
            "files": [_file(file) for file in run.files],
            "failureReason": run.failure_reason,
            "failureMessage": run.failure_message,
            "initialRunAt": iso(run.created_at),
            "reviewedBy": run.reviewed_by,
            "reviewed": run.reviewed,
            "rejectionNote": run.rejection_note,
            "reviewedAt": iso(run.reviewed_at),
            "startTime": iso(run.started_at),
            "endTime": iso(run.ended_at),
            "outputs": [
                _processor_run(step, kind)
                for step in run.steps
                if (kind := step.step.processor_kind) and kind in TYPES
            ],
            "stepRuns": [_step_run(step) for step in run.steps if step.step.type in STEP_TYPES],
            "workflow": {
                "object": "workflow",
                "id": run.workflow.id,
                "name": run.workflow.name,
                "version": run.version,
            },
            "usage": {"credits": run.credits},
        }
    )


def _step_run(step: StepRun) -> dict[str, Any]:
    """Return a step without a processor; it has neither the file nor ``allPassed``."""
    output = msgspec.json.decode(step.output or b"{}")
    return {
        "object": "workflow_step_run",
        "id": step.id,
        "status": step.status,
        "step": common.step_summary(step.step),
        "output": {"rules": output["rules"]},
    }


def _processor_run(step: StepRun, kind: ProcessorKind) -> dict[str, Any]:
    return common.without_none(
        {
            "object": "document_processor_run",
            "id": processor_run_id(step),
            **_processor(step.step),
            "status": step.status,
            "output": _output(step.reviewed_output or step.output),
            "failureReason": step.failure_reason,
            "failureMessage": step.failure_message,
            "metadata": {},
            "reviewed": step.reviewed,
            "edited": step.reviewed_output is not None,
            "edits": step.edits or {},
            "type": TYPES[kind],
            "config": {"type": TYPES[kind], **processor_config(step.step)},
            "initialOutput": _output(step.output) if step.reviewed else None,
            "reviewedOutput": _output(step.reviewed_output or step.output) if step.reviewed else None,
            "files": [_file(file) for file in step.files],
            "mergedProcessors": [_processor(each) for each in step.step.merges],
            "url": common.processor_run_url(step),
            "usage": {"credits": step.credits},
        }
    )


def _processor(step: Step) -> dict[str, Any]:
    """Return a step's processor; a merged extraction has none and takes id and name of its step."""
    has_processor = bool(step.processor_id)
    return {
        "processorId": _legacy_id("dp", step.processor_id or step.id),
        "processorVersionId": _legacy_id("dpv", step.processor_version_id if has_processor else step.id),
        "processorName": step.processor_name if has_processor else step.name,
    }


def _output(encoded: bytes | None) -> Any:
    """Return an output in the shape of this version, with flat citations."""
    if encoded is None:
        return None
    output = msgspec.json.decode(encoded)
    for entry in (output.get("metadata") or {}).values():
        if entry.get("citations"):
            entry["citations"] = [_flat(citation) for citation in entry["citations"]]
    return output


def _flat(citation: dict[str, Any]) -> dict[str, Any]:
    page = citation.get("page") or {}
    return common.without_none(
        {
            "page": page.get("number"),
            "pageWidth": page.get("width"),
            "pageHeight": page.get("height"),
            "referenceText": citation.get("referenceText"),
            "polygon": citation.get("polygon"),
        }
    )


def run_list(runs: Sequence[Run]) -> dict[str, Any]:
    """Return a page of run summaries."""
    return {"success": True, "workflowRuns": [_summary(run) for run in runs]}


def _summary(run: Run) -> dict[str, Any]:
    return common.without_none(
        {
            "id": run.id,
            "status": run.status,
            "initialRunAt": iso(run.started_at),
            "reviewedByUser": run.reviewed_by,
            "reviewedAt": iso(run.reviewed_at),
            "startTime": iso(run.started_at),
            "endTime": iso(run.ended_at),
            "workflowId": run.workflow.id,
            "workflowName": run.workflow.name,
            "workflowVersionId": run.workflow.version_id(run.version),
            "batchId": run.batch_id,
            "rejectionNote": run.rejection_note,
            "createdAt": iso(run.created_at),
            "updatedAt": iso(run.updated_at),
            "usage": {"credits": run.credits},
        }
    )


def run_deleted(run_id: str) -> Any:
    """Return the answer to deleting a run."""
    return {"success": True, "workflowRunId": run_id, "message": "Workflow run deleted successfully."}


def webhook_run(run: Run) -> Any:
    """Return a run as the payload of an event: without ``success`` around it."""
    return _run(run)


def webhook_step(run: Run, step: StepRun) -> Any:
    """Return a step run as the payload of an event; None if it is not in ``stepRuns`` of this version."""
    return _step_run(step) if step.step.type in STEP_TYPES else None


def signed_payload(url: str, subject_id: str, metadata: msgspec.Raw | None) -> Any:
    """Return what is in the place of a payload that is sent as a URL: only the URL."""
    return {"data": url}


def file(file: StoredFile, presigned_url: str | None = None) -> Any:
    """Return the answer to uploading or getting a file."""
    return {"success": True, "file": common.without_none(_file(file) | {"presignedUrl": presigned_url})}


def _file(file: StoredFile) -> dict[str, Any]:
    return common.without_none(common.file_summary(file))


def file_list(files: Sequence[StoredFile]) -> dict[str, Any]:
    """Return a page of files."""
    return {"success": True, "files": [_file(item) for item in files]}


def file_deleted(file_id: str) -> Any:
    """Return the answer to deleting a file."""
    return {"success": True, "fileId": file_id, "message": "File deleted successfully."}


def error(error: ApiError, request_id: str) -> Any:
    """Return the body of a refusal: a text, and a code only if a file is the cause."""
    if error.status == 429:
        return {"error": error.message}
    return common.without_none({"success": False, "error": error.message, "code": error.file_code})
