"""What both API versions have in common: the interface, and the fields that never changed their names."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from extend_provider.client.models import (
    BatchInput,
    FileInput,
    Page,
    RunInput,
    RunSummary,
    Split,
    StoredFile,
    WorkflowRun,
)
from extend_provider.client.wire.reading import (
    Json,
    body_list,
    body_mapping,
    body_member,
    flag,
    mapping,
    mappings,
    member_text,
    number,
    optional_mapping,
    required_text,
    text,
    whole_number,
)
from extend_provider.exceptions import ExtendInputError
from extend_provider.security import without_credentials

Body = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Members:
    """The keys under which answers hold runs and files; None where the answer itself is the object."""

    run: str | None
    runs: str
    file: str | None
    files: str


@dataclasses.dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of all runs of a request; a batch has only ``version`` and ``priority``.

    :param version: a version's number or ``draft``; None for the deployed one.
    """

    version: str | None = None
    priority: int | None = None
    metadata: Mapping[str, Any] | None = None
    secrets: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)
    name: str | None = None


class Wire(ABC):
    """How one API version writes requests and answers.

    Bodies of requests raise :class:`~extend_provider.exceptions.ExtendInputError` for what the version does
    not support; reading an answer raises :class:`~extend_provider.client.wire.reading.UnreadableAnswerError`.
    """

    api_version: ClassVar[str]
    members: ClassVar[Members]
    #: Whether one request creates runs for several files, or one run for one file.
    several_files_per_request: ClassVar[bool]
    #: Whether a run can be named in the request that creates it.
    names_runs_at_creation: ClassVar[bool]
    #: Whether a batch has a priority of its own; otherwise it is fixed.
    batch_has_priority: ClassVar[bool]
    #: Whether workflows themselves can be asked for.
    has_workflows: ClassVar[bool]

    @abstractmethod
    def run_body(self, workflow_id: str, inputs: Sequence[RunInput], options: RunOptions) -> Body:
        """Return the body of ``POST /workflow_runs``; one input unless :attr:`several_files_per_request`."""

    @abstractmethod
    def batch_body(self, workflow_id: str, inputs: Sequence[BatchInput], options: RunOptions) -> Body:
        """Return the body of ``POST /workflow_runs/batch``."""

    @abstractmethod
    def parse_run(self, raw: Json) -> WorkflowRun:
        """Return a run from the object as it was received, without an envelope around it."""

    @abstractmethod
    def parse_summary(self, raw: Json) -> RunSummary:
        """Return a run from an object of a listing."""

    def created_runs(self, body: object) -> tuple[WorkflowRun, ...]:
        """Return the runs that ``POST /workflow_runs`` created."""
        if not self.several_files_per_request:
            return (self.run(body),)
        return tuple(self.parse_run(run) for run in body_list(body, self.members.runs))

    def batch_id(self, body: object) -> str:
        """Return the id that ``POST /workflow_runs/batch`` answers."""
        return required_text(body_mapping(body), "batchId")

    def run(self, body: object) -> WorkflowRun:
        """Return the run that get, update and cancel answer."""
        return self.parse_run(body_member(body, self.members.run))

    def run_text(self, body: bytes) -> bytes:
        """Return the JSON text of the run that get answers, byte for byte."""
        return body.strip() if self.members.run is None else member_text(body, self.members.run)

    def run_page(self, body: object) -> Page[RunSummary]:
        """Return a page of ``GET /workflow_runs``."""
        runs = tuple(self.parse_summary(run) for run in body_list(body, self.members.runs))
        return Page(runs, next_page_token(body))

    def file(self, body: object) -> StoredFile:
        """Return the file that upload and get answer."""
        return stored_file(body_member(body, self.members.file))

    def file_page(self, body: object) -> Page[StoredFile]:
        """Return a page of ``GET /files``."""
        files = tuple(stored_file(file) for file in body_list(body, self.members.files))
        return Page(files, next_page_token(body))


def source_of(file: FileInput) -> str:
    """Return which of ``url``, ``file_id`` and ``text`` is set, or raise ExtendInputError."""
    given = [kind for kind in ("url", "file_id", "text") if getattr(file, kind) is not None]
    if len(given) != 1:
        raise ExtendInputError(
            f"A file needs exactly one of url, file_id and text; {file!r} has "
            f"{' and '.join(given) or 'none'}."
        )
    if file.password is not None and given != ["url"]:
        raise ExtendInputError(
            f"Extend takes a password for files given by url only; {file!r} is given by {given[0]}. "
            "Pass the password when the file is uploaded."
        )
    return given[0]


def without_nones(body: Mapping[str, Any]) -> Body:
    """Return the body without the fields that were not given."""
    return {key: value for key, value in body.items() if value is not None}


def next_page_token(body: object) -> str | None:
    """Return the cursor of the next page; absent, null and empty all mean the last page."""
    return text(body_mapping(body), "nextPageToken")


def stored_file(raw: Json) -> StoredFile:
    """Read a file or a file's summary."""
    metadata = mapping(raw, "metadata")
    split = optional_mapping(metadata, "parentSplit")
    return StoredFile(
        id=required_text(raw, "id"),
        name=text(raw, "name"),
        type=text(raw, "type"),
        page_count=whole_number(metadata, "pageCount"),
        parent_file_id=text(raw, "parentFileId"),
        created_at=text(raw, "createdAt"),
        updated_at=text(raw, "updatedAt"),
        presigned_url=text(raw, "presignedUrl"),
        split=None if split is None else split_of(split),
    )


def stored_files(raw: Json) -> tuple[StoredFile, ...]:
    """Read the files that a run, or a step of it, worked on."""
    return tuple([stored_file(file) for file in mappings(raw, "files") if text(file, "id")])


def split_of(raw: Json) -> Split:
    """Read a split, from a splitter's output or from the file that it made."""
    return Split(
        id=text(raw, "id"),
        type=text(raw, "type"),
        identifier=text(raw, "identifier"),
        start_page=whole_number(raw, "startPage"),
        end_page=whole_number(raw, "endPage"),
        file_id=text(raw, "fileId"),
        name=text(raw, "name"),
        classification_id=text(raw, "classificationId"),
        observation=text(raw, "observation"),
    )


def summary_fields(raw: Json) -> dict[str, Any]:
    """Read the fields that listings and full runs share, in both versions."""
    return {
        "id": required_text(raw, "id"),
        "status": text(raw, "status") or "UNKNOWN",
        "batch_id": text(raw, "batchId"),
        "file_names": tuple([name for file in mappings(raw, "files") if (name := text(file, "name"))]),
        "created_at": text(raw, "createdAt"),
        "updated_at": text(raw, "updatedAt"),
        "started_at": text(raw, "startTime") or text(raw, "initialRunAt"),
        "ended_at": text(raw, "endTime"),
        "credits": number(mapping(raw, "usage"), "credits"),
    }


def run_fields(raw: Json) -> dict[str, Any]:
    """Read the fields that a full run adds to :func:`summary_fields`, in both versions."""
    return {
        **summary_fields(raw),
        "metadata": mapping(raw, "metadata"),
        "failure_reason": text(raw, "failureReason"),
        "failure_message": without_credentials(text(raw, "failureMessage") or "") or None,
        "reviewed": flag(raw, "reviewed"),
        "reviewed_by": text(raw, "reviewedByUser") or text(raw, "reviewedBy"),
        "reviewed_at": text(raw, "reviewedAt"),
        "rejection_note": text(raw, "rejectionNote"),
        "files": stored_files(raw),
        "raw": raw,
    }
