"""The endpoints of Extend's API, each written once: the methods of both hooks are made of these functions.

A function's signature and docstring are those of the hooks' method; its first argument is the wire of the
connection's API version. Paths and parameters are the same in both API versions; bodies and answers are the
business of :mod:`extend_provider.client.wire`.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from extend_provider.client.calls import ApiCall, Upload, json_body, path_of
from extend_provider.client.models import (
    BatchInput,
    FileInput,
    Page,
    RunInput,
    RunSummary,
    StoredFile,
    WorkflowRun,
)
from extend_provider.client.wire import Wire
from extend_provider.client.wire.base import RunOptions, without_nones
from extend_provider.exceptions import ExtendError, ExtendInputError

log = logging.getLogger(__name__)

#: The largest page Extend serves.
MAX_PAGE_SIZE = 1000


def create_run(
    wire: Wire,
    workflow_id: str,
    file: FileInput,
    *,
    version: str | int | None = None,
    outputs: Sequence[Mapping[str, Any]] | None = None,
    priority: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Generator[ApiCall[Any], Any, WorkflowRun]:
    """Run a workflow on one file; see :meth:`create_runs`."""
    (run,) = yield from create_runs(
        wire,
        workflow_id,
        [RunInput(file, outputs)],
        version=version,
        priority=priority,
        metadata=metadata,
        secrets=secrets,
        name=name,
    )
    return run


def create_runs(
    wire: Wire,
    workflow_id: str,
    inputs: Sequence[RunInput],
    *,
    version: str | int | None = None,
    priority: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    name: str | None = None,
    leave_by: datetime | None = None,
) -> Generator[ApiCall[Any], Any, list[WorkflowRun]]:
    """Run a workflow on each file: one request on 2025-04-21, one request per file on 2026-02-09.

    :param version: a version's number or ``draft``; None for the deployed one.
    :param priority: 1 to 100, lower first.
    :param metadata: comes back with each run.
    :param name: of each run.
    :param leave_by: when a request must have left, or not at all; timezone-aware.
    :raises ExtendError: with ``created_run_ids`` if some of several requests had succeeded.
    """
    if not inputs:
        raise ExtendInputError("A workflow run needs a file or a raw text; none was given.")
    options = RunOptions(_version(version), priority, metadata, secrets, name)
    groups = [inputs] if wire.several_files_per_request else [[each] for each in inputs]
    # All bodies are written before the first request: an input that cannot be sent must cost nothing.
    calls = [
        ApiCall(
            "POST",
            "/workflow_runs",
            intent=f"run workflow {workflow_id} on {_named(group)}",
            repeatable=False,
            body=json_body(wire.run_body(workflow_id, group, options)),
            read=wire.created_runs,
            leave_by=leave_by,
        )
        for group in groups
    ]
    runs: list[WorkflowRun] = []
    for call in calls:
        try:
            runs.extend((yield from call))
        except ExtendError as error:
            error.created_run_ids = tuple(run.id for run in runs)
            raise
    if name is not None and not wire.names_runs_at_creation:
        for run in runs:
            yield from _name_run(wire, run, name)
    return runs


def _name_run(wire: Wire, run: WorkflowRun, name: str) -> Generator[ApiCall[Any], Any, None]:
    """Name a run that exists already. A failure is logged only, because the run's id must not be lost."""
    try:
        yield from update_run(wire, run.id, name=name)
    except ExtendError as error:
        log.warning("Run %s was created but not named %r: %s", run.id, name, error)


def create_batch(
    wire: Wire,
    workflow_id: str,
    inputs: Sequence[BatchInput],
    *,
    version: str | int | None = None,
    priority: int | None = None,
    leave_by: datetime | None = None,
) -> ApiCall[str]:
    """Submit up to 1,000 inputs in one request and return the batch's id.

    :param leave_by: when the request must have left, or not at all; timezone-aware.
    :raises ExtendUnclearSubmissionError: if it is unknown whether the batch exists.
    """
    if priority is not None and not wire.batch_has_priority:
        log.warning(
            "API version %s fixes the priority of batches; %d is ignored.", wire.api_version, priority
        )
    return ApiCall(
        "POST",
        "/workflow_runs/batch",
        intent=f"submit a batch of {len(inputs):,} inputs to workflow {workflow_id}",
        repeatable=False,
        body=json_body(wire.batch_body(workflow_id, inputs, RunOptions(_version(version), priority))),
        read=wire.batch_id,
        leave_by=leave_by,
    )


def iter_run_pages(
    wire: Wire,
    *,
    batch_id: str | None = None,
    workflow_id: str | None = None,
    status: str | None = None,
    file_name_contains: str | None = None,
    sort_by: str = "createdAt",
    sort_dir: str = "asc",
    page_size: int = MAX_PAGE_SIZE,
) -> ApiCall[Page[RunSummary]]:
    """List runs page by page. While runs are at work, pages may overlap or miss some: count by id."""
    return ApiCall(
        "GET",
        "/workflow_runs",
        intent=f"list the runs of batch {batch_id}" if batch_id else "list workflow runs",
        params=without_nones(
            {
                "batchId": batch_id,
                "workflowId": workflow_id,
                "status": status,
                "fileNameContains": file_name_contains,
                "sortBy": sort_by,
                "sortDir": sort_dir,
                "maxPageSize": str(page_size),
            }
        ),
        read=wire.run_page,
    )


def get_run(wire: Wire, run_id: str) -> ApiCall[WorkflowRun]:
    """Return a run with its results."""
    return ApiCall(
        "GET",
        path_of("workflow_runs", run_id),
        intent=f"get run {run_id}",
        read=wire.run,
        complete=lambda run, body: msgspec.structs.replace(run, received=wire.run_text(body)),
    )


def update_run(
    wire: Wire, run_id: str, name: str | None = None, metadata: Mapping[str, Any] | None = None
) -> ApiCall[WorkflowRun]:
    """Set a run's name or metadata."""
    return ApiCall(
        "POST",
        path_of("workflow_runs", run_id),
        intent=f"update run {run_id}",
        body=json_body(without_nones({"name": name, "metadata": metadata})),
        read=wire.run,
    )


def cancel_run(wire: Wire, run_id: str) -> ApiCall[WorkflowRun]:
    """Cancel a pending or processing run; Extend refuses others (ExtendBadRequestError)."""
    return ApiCall(
        "POST",
        path_of("workflow_runs", run_id, "cancel"),
        intent=f"cancel run {run_id}",
        body=b"{}",
        read=wire.run,
    )


def delete_run(wire: Wire, run_id: str) -> ApiCall[None]:
    """Delete a run."""
    return ApiCall("DELETE", path_of("workflow_runs", run_id), intent=f"delete run {run_id}", read=_nothing)


def check_workflow(wire: Wire, workflow_id: str) -> Generator[ApiCall[Any], Any, None]:
    """Check that the connection's workspace has a workflow, where the API version can tell.

    :raises ExtendNotFoundError: it has not.
    """
    if wire.has_workflows:
        path = path_of("workflows", workflow_id)
        yield from ApiCall("GET", path, intent=f"get workflow {workflow_id}", read=_nothing)


def upload_file(
    wire: Wire,
    name: str,
    content: BinaryIO | bytes,
    *,
    password: str | None = None,
    convert_to_pdf: bool = False,
) -> ApiCall[StoredFile]:
    """Upload a file, streamed from a binary file that can seek. Extend infers its type from name and content.

    Each upload creates another file, which costs nothing, so an upload may be repeated.
    """
    return ApiCall(
        "POST",
        "/files/upload",
        intent=f"upload file {name!r}",
        params={"convertToPdf": "true"} if convert_to_pdf else {},
        upload=Upload.of(name, content, {} if password is None else {"password": password}),
        read=wire.file,
    )


def iter_file_pages(
    wire: Wire,
    *,
    name_contains: str | None = None,
    sort_dir: str = "asc",
    page_size: int = MAX_PAGE_SIZE,
) -> ApiCall[Page[StoredFile]]:
    """List files page by page."""
    return ApiCall(
        "GET",
        "/files",
        intent="list files",
        params=without_nones(
            {"nameContains": name_contains, "sortDir": sort_dir, "maxPageSize": str(page_size)}
        ),
        read=wire.file_page,
    )


def get_file(wire: Wire, file_id: str) -> ApiCall[StoredFile]:
    """Return a file with a presigned URL of its content, good for 15 minutes."""
    return ApiCall("GET", path_of("files", file_id), intent=f"get file {file_id}", read=wire.file)


def delete_file(wire: Wire, file_id: str) -> ApiCall[None]:
    """Delete a file."""
    return ApiCall("DELETE", path_of("files", file_id), intent=f"delete file {file_id}", read=_nothing)


def file_input_name(file: FileInput) -> str:
    """Return a name of a file for messages, without its URL or text."""
    return file.name or file.file_id or ("a raw text" if file.text is not None else "a file given by URL")


def _named(inputs: Sequence[RunInput]) -> str:
    names = [file_input_name(each.file) for each in inputs]
    return names[0] if len(names) == 1 else f"{len(names)} files, {names[0]} first"


def _version(version: str | int | None) -> str | None:
    return None if version is None else str(version)


def _nothing(body: object) -> None:
    """Read nothing, because the status is the whole answer."""
