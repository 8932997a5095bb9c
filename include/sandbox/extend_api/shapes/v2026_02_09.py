"""API version 2026-02-09: bare objects, missing values are ``null``, results are in ``stepRuns``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from sandbox.extend_api.errors import ApiError, InvalidRequest
from sandbox.extend_api.shapes import common
from sandbox.extend_api.state.model import FileRef, Run, RunOrder, StepRun, StoredFile, iso
from sandbox.extend_api.workflows.processors import PARSE_PRODUCT, processor_config, product
from sandbox.extend_api.workflows.steps import ProcessorKind, Workflow

#: Name of a processor of each kind.
PROCESSORS: Mapping[ProcessorKind, str] = {
    "classify": "classifier",
    "split": "splitter",
    "extract": "extractor",
}
MAX_PACKAGE_FILES = 50
#: The service returns this undocumented field on runs and files; clients must accept unknown keys.
DATA_RETENTION = {"mode": "standard", "status": "retained"}


class _FileSettings(msgspec.Struct):
    password: str | None = None


class _File(msgspec.Struct):
    url: str | None = None
    id: str | None = None
    text: str | None = None
    name: str | None = None
    settings: _FileSettings | None = None

    def ref(self, path: str) -> FileRef:
        password = self.settings.password if self.settings and self.url else None
        return common.checked_file(
            FileRef(url=self.url, id=self.id, text=self.text, name=self.name, password=password), path
        )


class _Workflow(msgspec.Struct):
    id: str
    version: str | None = None


class _Package(msgspec.Struct):
    files: list[_File]


class _RunBody(msgspec.Struct):
    workflow: _Workflow
    file: _File | None = None
    package: _Package | None = None
    outputs: list[common.GivenOutput] | None = None
    priority: int | None = None
    metadata: dict[str, Any] | None = None
    secrets: dict[str, Any] | None = None


class _Input(msgspec.Struct):
    file: _File
    metadata: dict[str, Any] | None = None
    secrets: dict[str, Any] | None = None


class _BatchBody(msgspec.Struct):
    workflow: _Workflow
    inputs: list[_Input]
    priority: int | None = None


_run_body = msgspec.json.Decoder(_RunBody)
_batch_body = msgspec.json.Decoder(_BatchBody)


def read_run_request(body: bytes) -> list[RunOrder]:
    """Read ``POST /workflow_runs``: always one run; raises InvalidRequest."""
    request = common.decode(_run_body, body)
    if (request.file is None) == (request.package is None):
        raise InvalidRequest("Exactly one of file and package is required", "file")
    files = (request.file.ref("file"),) if request.file else _package_files(request.package or _Package([]))
    if request.package and request.outputs:
        raise InvalidRequest("outputs are not supported with a package", "outputs")
    return [
        RunOrder(
            workflow_id=request.workflow.id,
            version=request.workflow.version,
            files=files,
            priority=common.checked_priority(request.priority, common.DEFAULT_RUN_PRIORITY),
            metadata=common.checked_metadata(request.metadata),
            outputs={output.processorId: output.output for output in request.outputs or ()},
        )
    ]


def _package_files(package: _Package) -> tuple[FileRef, ...]:
    if not 2 <= len(package.files) <= MAX_PACKAGE_FILES:
        raise InvalidRequest(f"Expected between 2 and {MAX_PACKAGE_FILES} files", "package.files")
    refs = tuple(file.ref(f"package.files[{index}]") for index, file in enumerate(package.files))
    if any(ref.text is not None for ref in refs):
        raise InvalidRequest("A package takes URLs and file ids only", "package.files")
    if len({ref.url or ref.id for ref in refs}) < len(refs):
        raise InvalidRequest("The files of a package must be distinct", "package.files")
    return refs


def read_batch_request(body: bytes) -> list[RunOrder]:
    """Read ``POST /workflow_runs/batch``: one run per input; raises InvalidRequest."""
    request = common.decode(_batch_body, body)
    common.checked_inputs(request.inputs)
    priority = common.checked_priority(request.priority, common.DEFAULT_BATCH_PRIORITY)
    return [
        RunOrder(
            workflow_id=request.workflow.id,
            version=request.workflow.version,
            files=(item.file.ref(f"inputs[{index}].file"),),
            priority=priority,
            metadata=common.checked_metadata(item.metadata, f"inputs[{index}].metadata"),
        )
        for index, item in enumerate(request.inputs)
    ]


def created(runs: Sequence[Run]) -> Any:
    """Return the answer to ``POST /workflow_runs``: the run itself."""
    return run(runs[0])


def batch_created(batch_id: str) -> Any:
    """Return the answer to ``POST /workflow_runs/batch``: only the id."""
    return {"batchId": batch_id}


def run(run: Run) -> Any:
    """Return the full WorkflowRun."""
    record = {
        "object": "workflow_run",
        "id": run.id,
        **_workflow(run),
        "dashboardUrl": common.run_url(run),
        "status": run.status,
        "metadata": common.raw(run.metadata),
        "batchId": run.batch_id,
        "files": [common.file_summary(file) for file in run.files],
        "initialRunAt": iso(run.started_at),
        "reviewedByUser": run.reviewed_by,
        "reviewed": run.reviewed,
        "rejectionNote": run.rejection_note,
        "reviewedAt": iso(run.reviewed_at),
        "startTime": iso(run.started_at),
        "endTime": iso(run.ended_at),
        "stepRuns": [_step_run(run, step) for step in run.steps],
        "usage": _usage(run.steps),
        "dataRetention": DATA_RETENTION,
    }
    if run.failure_reason is not None:
        record |= {"failureReason": run.failure_reason, "failureMessage": run.failure_message}
    return record


def run_list(runs: Sequence[Run]) -> dict[str, Any]:
    """Return a page of WorkflowRunSummary objects."""
    return {"object": "list", "data": [_summary(run) for run in runs]}


def _summary(run: Run) -> dict[str, Any]:
    return {
        "object": "workflow_run",
        "id": run.id,
        "status": run.status,
        **_workflow(run),
        "dashboardUrl": common.run_url(run),
        "reviewedByUser": run.reviewed_by,
        "reviewedAt": iso(run.reviewed_at),
        "initialRunAt": iso(run.started_at),
        "startTime": iso(run.started_at),
        "endTime": iso(run.ended_at),
        "batchId": run.batch_id,
        "rejectionNote": run.rejection_note,
        "files": [common.file_summary(file) for file in run.files],
        "createdAt": iso(run.created_at),
        "updatedAt": iso(run.updated_at),
        "usage": {"credits": run.credits, "totalCredits": run.credits},
    }


def workflow_summary(workflow: Workflow) -> dict[str, Any]:
    """Return a workflow as it is in listings and runs."""
    return {
        "object": "workflow",
        "id": workflow.id,
        "name": workflow.name,
        "createdAt": common.SETUP_TIME,
        "updatedAt": common.SETUP_TIME,
        "createdBy": None,
    }


def workflow_version(workflow: Workflow, version: str) -> dict[str, Any]:
    """Return a version of a workflow as it is in runs."""
    return {
        "object": "workflow_version",
        "id": workflow.version_id(version),
        "version": version,
        "name": None,
        "createdAt": common.SETUP_TIME,
        "createdBy": None,
    }


def _workflow(run: Run) -> dict[str, Any]:
    return {
        "workflow": workflow_summary(run.workflow),
        "workflowVersion": workflow_version(run.workflow, run.version),
    }


def _step_run(run: Run, step: StepRun) -> dict[str, Any]:
    files = [common.file_summary(file) for file in step.files]
    return {
        "object": "workflow_step_run",
        "id": step.id,
        "workflowRunId": run.id,
        "status": step.status,
        "files": files,
        "stepType": step.step.type,
        "step": common.step_summary(step.step),
        "result": _result(step, files),
    }


def _result(step: StepRun, files: list[dict[str, Any]]) -> Any:
    kind = step.step.processor_kind
    if kind is None:
        return common.raw(step.output)
    if kind == "parse":
        return {"parseRun": _parse_run(step, files)}
    result: dict[str, Any] = {f"{kind}Run": _processor_run(step, kind, files)}
    if step.step.merges:
        result["mergedExtractors"] = [
            {"id": each.processor_id, "versionId": each.processor_version_id, "name": each.processor_name}
            for each in step.step.merges
        ]
    return result


def _parse_run(step: StepRun, files: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "object": "parse_run",
        "id": step.processor_run_id,
        "file": files[0],
        "status": step.status,
        "output": common.raw(step.output),
        "outputUrl": None,
        "failureReason": step.failure_reason,
        "failureMessage": step.failure_message,
        "metadata": {},
        "metrics": {"processingTimeMs": step.updated_at - step.created_at, "pageCount": step.pages},
        "config": processor_config(step.step),
        "usage": _usage((step,), own=step.credits),
    }


def _processor_run(step: StepRun, kind: ProcessorKind, files: list[dict[str, Any]]) -> dict[str, Any]:
    edited = step.reviewed_output is not None
    record = {
        "object": f"{kind}_run",
        "id": step.processor_run_id,
        "status": step.status,
        "output": common.raw(step.reviewed_output or step.output),
        "initialOutput": common.raw(step.output) if step.reviewed else None,
        "reviewedOutput": common.raw(step.reviewed_output or step.output) if step.reviewed else None,
        "failureReason": step.failure_reason,
        "failureMessage": step.failure_message,
        "metadata": {},
        "reviewed": step.reviewed,
        "edited": edited,
        "config": processor_config(step.step),
        **_processor(step, PROCESSORS[kind]),
        "file": files[0],
        "parseRunId": step.parse_run_id,
        "dashboardUrl": common.processor_run_url(step),
        "usage": _usage((step,), own=step.credits),
        "createdAt": iso(step.created_at),
        "updatedAt": iso(step.updated_at),
    }
    if kind == "extract":
        record |= {"edits": step.edits, "files": files if len(files) > 1 else None}
    return record


def _processor(step: StepRun, name: str) -> dict[str, Any]:
    """Return the processor and its version; a merged extraction has neither."""
    if not step.step.processor_id:
        return {name: None, f"{name}Version": None}
    return {
        name: {
            "object": name,
            "id": step.step.processor_id,
            "name": step.step.processor_name,
            "createdAt": common.SETUP_TIME,
            "updatedAt": common.SETUP_TIME,
        },
        f"{name}Version": {
            "object": f"{name}_version",
            "id": step.step.processor_version_id,
            "description": None,
            "version": "1",
            f"{name}Id": step.step.processor_id,
            "createdAt": common.SETUP_TIME,
            "createdBy": None,
        },
    }


def _usage(steps: Sequence[StepRun], own: float | None = None) -> dict[str, Any]:
    """Return the cost of one step or of all steps of a run.

    :param own: the cost of the processor run alone; None for a workflow run, whose cost is the sum.
    """
    total = sum(step.credits + step.parse_credits for step in steps)
    return {
        "credits": total if own is None else own,
        "totalCredits": total,
        "breakdown": [entry for step in steps for entry in _charged(step)],
    }


def _charged(step: StepRun) -> Iterator[dict[str, Any]]:
    """Yield the charges of a step: for the parse run that it started, and for its own run."""
    if step.parse_credits:
        yield _charge("parse_run", step.parse_run_id, PARSE_PRODUCT, step.pages, step.parse_credits)
    if step.credits:
        kind = f"{step.step.processor_kind}_run"
        yield _charge(kind, step.processor_run_id, product(step.step), step.pages, step.credits)


def _charge(kind: str, run_id: str | None, product: str, pages: int, credits: float) -> dict[str, Any]:
    charge = {"product": product, "unit": "page", "quantity": pages, "credits": credits}
    return {"object": kind, "id": run_id, "credits": credits, "charges": [charge]}


def run_deleted(run_id: str) -> Any:
    """Return the answer to deleting a run."""
    return {"id": run_id}


def webhook_run(of: Run) -> Any:
    """Return a run as the payload of an event: as a request for it is answered."""
    return run(of)


def webhook_step(run: Run, step: StepRun) -> Any:
    """Return a step run as the payload of an event."""
    return _step_run(run, step)


def signed_payload(url: str, subject_id: str, metadata: msgspec.Raw | None) -> Any:
    """Return what is in the place of a payload that is sent as a URL."""
    record = {"object": "signed_data_url", "data": url, "id": subject_id}
    return record if metadata is None else {**record, "metadata": metadata}


def file(file: StoredFile, presigned_url: str | None = None) -> Any:
    """Return a file, with its URL if there is one."""
    record = {**common.file_summary(file), "dataRetention": DATA_RETENTION}
    return record if presigned_url is None else {**record, "presignedUrl": presigned_url}


def file_list(files: Sequence[StoredFile]) -> dict[str, Any]:
    """Return a page of files."""
    return {"object": "list", "data": [file(item) for item in files]}


def file_deleted(file_id: str) -> Any:
    """Return the answer to deleting a file."""
    return {"id": file_id}


def error(error: ApiError, request_id: str) -> Any:
    """Return the body of a refusal."""
    return {
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "requestId": request_id,
    }
