"""The endpoints of Extend's API without I/O: what to send, whether to send it again, how to read the answer.

The sync and the async hook both send these calls, so an endpoint is defined once. Paths and parameters are
the same in both API versions; bodies and answers are the business of :mod:`extend_provider.client.wire`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO, Generic, Literal, TypeVar
from urllib.parse import quote

import msgspec

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
from extend_provider.client.wire.base import without_nones
from extend_provider.exceptions import ExtendInputError

T = TypeVar("T")

#: The largest page Extend serves.
MAX_PAGE_SIZE = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """A file to send as multipart form from where it stands now, with the form's other fields."""

    name: str
    content: BinaryIO = dataclasses.field(repr=False)
    start: int
    size: int
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, name: str, content: BinaryIO | bytes, fields: Mapping[str, str]) -> Upload:
        """Measure the content; raise ExtendInputError if it cannot seek: a second try must rewind it."""
        stream: BinaryIO = BytesIO(content) if isinstance(content, bytes) else content
        if not stream.seekable():
            raise ExtendInputError(
                f"File {name!r} cannot be uploaded from a stream that cannot seek; spool it first."
            )
        start = stream.tell()
        size = stream.seek(0, SEEK_END) - start
        stream.seek(start)
        return cls(name, stream, start, size, fields)


@dataclasses.dataclass(frozen=True, slots=True)
class ApiCall(Generic[T]):
    """One request and the reading of its answer.

    :param intent: what it is for, in words that continue "Extend refused to …".
    :param read: makes the result of the decoded JSON body.
    :param complete: adds to the result what only the body's own bytes tell.
    :param repeatable: False where sending twice could create, and bill, twice.
    :param body: JSON, encoded.
    :param leave_by: when it must have begun to leave, or not at all; timezone-aware. None: any time.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    intent: str
    read: Callable[[object], T] = dataclasses.field(repr=False)
    repeatable: bool = True
    params: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes | None = dataclasses.field(default=None, repr=False)
    upload: Upload | None = None
    complete: Callable[[T, bytes], T] | None = dataclasses.field(default=None, repr=False)
    leave_by: datetime | None = None

    @property
    def is_brief(self) -> bool:
        """Whether the answer comes soon: the request creates no work and carries no file."""
        return self.repeatable and self.upload is None


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
) -> list[ApiCall[tuple[WorkflowRun, ...]]]:
    """``POST /workflow_runs``: one call for all inputs, or one for each where the version takes one file."""
    if not inputs:
        raise ExtendInputError("A workflow run needs a file or a raw text; none was given.")
    groups = [inputs] if wire.several_files_per_request else [[each] for each in inputs]
    return [
        ApiCall(
            "POST",
            "/workflow_runs",
            intent=f"run workflow {workflow_id} on {_named(group)}",
            repeatable=False,
            body=_encoded(
                wire.run_body(
                    workflow_id,
                    group,
                    version=_version(version),
                    priority=priority,
                    metadata=metadata,
                    secrets=secrets,
                    name=name,
                )
            ),
            read=wire.created_runs,
            leave_by=leave_by,
        )
        for group in groups
    ]


def create_batch(
    wire: Wire,
    workflow_id: str,
    inputs: Sequence[BatchInput],
    *,
    version: str | int | None = None,
    priority: int | None = None,
    leave_by: datetime | None = None,
) -> ApiCall[str]:
    """``POST /workflow_runs/batch``: the answer is the batch's id and nothing else."""
    body = wire.batch_body(workflow_id, inputs, version=_version(version), priority=priority)
    return ApiCall(
        "POST",
        "/workflow_runs/batch",
        intent=f"submit a batch of {len(inputs):,} inputs to workflow {workflow_id}",
        repeatable=False,
        body=_encoded(body),
        read=wire.batch_id,
        leave_by=leave_by,
    )


def list_runs(
    wire: Wire,
    *,
    batch_id: str | None = None,
    workflow_id: str | None = None,
    status: str | None = None,
    file_name_contains: str | None = None,
    sort_by: str = "createdAt",
    sort_dir: str = "asc",
    page_size: int = MAX_PAGE_SIZE,
    page_token: str | None = None,
) -> ApiCall[Page[RunSummary]]:
    """``GET /workflow_runs``: a token is bound to the filters it was given for, so they are repeated."""
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
                "nextPageToken": page_token,
            }
        ),
        read=wire.run_page,
    )


def get_run(wire: Wire, run_id: str) -> ApiCall[WorkflowRun]:
    """``GET /workflow_runs/{id}``."""
    return ApiCall(
        "GET",
        _path("workflow_runs", run_id),
        intent=f"get run {run_id}",
        read=wire.run,
        complete=lambda run, body: dataclasses.replace(run, received=wire.run_text(body)),
    )


def get_workflow(wire: Wire, workflow_id: str) -> ApiCall[None]:
    """``GET /workflows/{id}``: whether the connection's workspace has it."""
    return ApiCall(
        "GET", _path("workflows", workflow_id), intent=f"get workflow {workflow_id}", read=_nothing
    )


def update_run(
    wire: Wire, run_id: str, *, name: str | None = None, metadata: Mapping[str, Any] | None = None
) -> ApiCall[WorkflowRun]:
    """``POST /workflow_runs/{id}``: sets name and metadata, so doing it twice is doing it once."""
    return ApiCall(
        "POST",
        _path("workflow_runs", run_id),
        intent=f"update run {run_id}",
        body=_encoded(without_nones({"name": name, "metadata": metadata})),
        read=wire.run,
    )


def cancel_run(wire: Wire, run_id: str) -> ApiCall[WorkflowRun]:
    """``POST /workflow_runs/{id}/cancel``: for pending and processing runs, others are refused."""
    return ApiCall(
        "POST",
        _path("workflow_runs", run_id, "cancel"),
        intent=f"cancel run {run_id}",
        body=b"{}",
        read=wire.run,
    )


def delete_run(wire: Wire, run_id: str) -> ApiCall[None]:
    """``DELETE /workflow_runs/{id}``."""
    return ApiCall("DELETE", _path("workflow_runs", run_id), intent=f"delete run {run_id}", read=_nothing)


def upload_file(
    wire: Wire,
    name: str,
    content: BinaryIO | bytes,
    *,
    password: str | None = None,
    convert_to_pdf: bool = False,
) -> ApiCall[StoredFile]:
    """``POST /files/upload``: each upload makes another file, which costs nothing, so it may be repeated."""
    return ApiCall(
        "POST",
        "/files/upload",
        intent=f"upload file {name!r}",
        params={"convertToPdf": "true"} if convert_to_pdf else {},
        upload=Upload.of(name, content, {} if password is None else {"password": password}),
        read=wire.file,
    )


def list_files(
    wire: Wire,
    *,
    name_contains: str | None = None,
    sort_dir: str = "asc",
    page_size: int = MAX_PAGE_SIZE,
    page_token: str | None = None,
) -> ApiCall[Page[StoredFile]]:
    """``GET /files``."""
    return ApiCall(
        "GET",
        "/files",
        intent="list files",
        params=without_nones(
            {
                "nameContains": name_contains,
                "sortDir": sort_dir,
                "maxPageSize": str(page_size),
                "nextPageToken": page_token,
            }
        ),
        read=wire.file_page,
    )


def get_file(wire: Wire, file_id: str) -> ApiCall[StoredFile]:
    """``GET /files/{id}``: the only answer with a presigned URL, good for 15 minutes."""
    return ApiCall("GET", _path("files", file_id), intent=f"get file {file_id}", read=wire.file)


def delete_file(wire: Wire, file_id: str) -> ApiCall[None]:
    """``DELETE /files/{id}``."""
    return ApiCall("DELETE", _path("files", file_id), intent=f"delete file {file_id}", read=_nothing)


def file_input_name(file: FileInput) -> str:
    """Return how to speak of a file without showing its URL or text."""
    return file.name or file.file_id or ("a raw text" if file.text is not None else "a file given by URL")


def _named(inputs: Sequence[RunInput]) -> str:
    names = [file_input_name(each.file) for each in inputs]
    return names[0] if len(names) == 1 else f"{len(names)} files, {names[0]} first"


def _path(*segments: str) -> str:
    if not all(segments):
        raise ExtendInputError("An id is missing: it is empty.")
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


def _version(version: str | int | None) -> str | None:
    return None if version is None else str(version)


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except (TypeError, ValueError) as error:
        raise ExtendInputError(f"The request cannot be written as JSON: {error}.") from None


def _plain(value: Any) -> Any:
    """Let any mapping pass for a JSON object."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON value")


def _nothing(body: object) -> None:
    """Read nothing: the status says it all."""
