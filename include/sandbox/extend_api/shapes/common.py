"""Limits, checks of request bodies, and small objects that both API versions share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from sandbox.extend_api.errors import InvalidRequest
from sandbox.extend_api.state.model import FileRef, Run, StepRun, StoredFile, iso
from sandbox.extend_api.workflows.catalogue import CREATED_AT
from sandbox.extend_api.workflows.steps import Step

DASHBOARD = "https://dashboard.extend.ai"
MAX_BATCH_INPUTS = 1000
MAX_METADATA_BYTES = 10 * 1024
DEFAULT_RUN_PRIORITY = 50
DEFAULT_BATCH_PRIORITY = 90
SETUP_TIME = iso(CREATED_AT)

_WHERE = re.compile(r" - at `\$?\.?(?P<path>[^`]*)`$")
Body = TypeVar("Body")


class GivenOutput(msgspec.Struct):
    """The result of a processor, given in the request so that it does not run."""

    processorId: str  # noqa: N815 - the wire's name
    output: dict[str, Any]


def decode(decoder: msgspec.json.Decoder[Body], body: bytes) -> Body:
    """Decode a request body; raises InvalidRequest with the path of the error, as Extend does."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        text = str(error)
        where = _WHERE.search(text)
        raise InvalidRequest(_WHERE.sub("", text), where["path"] if where else None) from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from None


def checked_priority(priority: int | None, default: int) -> int:
    """Return the priority, or the default; raises InvalidRequest outside 1..100."""
    if priority is None:
        return default
    if not 1 <= priority <= 100:
        raise InvalidRequest("Expected a number between 1 and 100", "priority")
    return priority


def checked_metadata(metadata: Mapping[str, Any] | None, path: str = "metadata") -> bytes:
    """Return the metadata encoded; raises InvalidRequest above 10 KB."""
    encoded = msgspec.json.encode(metadata or {})
    if len(encoded) > MAX_METADATA_BYTES:
        raise InvalidRequest("Metadata must not be larger than 10KB", path)
    return encoded


def checked_inputs(inputs: Sequence[Any]) -> None:
    """Raise InvalidRequest unless a batch has 1..1000 inputs."""
    if not 1 <= len(inputs) <= MAX_BATCH_INPUTS:
        raise InvalidRequest(
            f"Expected between 1 and {MAX_BATCH_INPUTS} inputs, received {len(inputs)}", "inputs"
        )


def checked_file(file: FileRef, path: str) -> FileRef:
    """Return the file; raises InvalidRequest unless it has exactly one of URL, file id and text."""
    given = [value for value in (file.url, file.id, file.text) if value is not None]
    if len(given) != 1:
        raise InvalidRequest("Exactly one of a URL, a file id and a text is required", path)
    if not given[0]:
        raise InvalidRequest("Must not be empty", path)
    if file.url is not None and not re.match(r"https?://[^/\s]+", file.url):
        raise InvalidRequest("Invalid url", path)
    return file


def file_summary(file: StoredFile) -> dict[str, Any]:
    """Return a file as it is in a run."""
    metadata: dict[str, Any] = {} if file.page_count is None else {"pageCount": file.page_count}
    if file.split is not None:
        metadata["parentSplit"] = file.split
    return {
        "object": "file",
        "id": file.id,
        "name": file.name,
        "type": file.type,
        "parentFileId": file.parent_id,
        "metadata": metadata,
        "createdAt": iso(file.created_at),
        "updatedAt": iso(file.updated_at),
    }


def step_summary(step: Step) -> dict[str, Any]:
    """Return a step of a workflow as step runs refer to it."""
    return {"object": "workflow_step", "id": step.id, "name": step.name, "type": step.type}


def run_url(run: Run) -> str:
    """Return the address of a run in the dashboard."""
    return f"{DASHBOARD}/workflows/{run.workflow.id}?workflowRunId={run.id}"


def processor_run_url(step: StepRun) -> str:
    """Return the address of a processor run in the dashboard."""
    return f"{DASHBOARD}/runs/{step.processor_run_id}"


def raw(encoded: bytes | None) -> msgspec.Raw | None:
    """Return stored JSON for the answer, without decoding it."""
    return None if encoded is None else msgspec.Raw(encoded)


def without_none(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record without its None values, as the older version omits them."""
    return {key: value for key, value in record.items() if value is not None}
