"""Runs, their steps, and files. They are compact, because there may be 100,000 of them.

Times are milliseconds since the epoch, UTC. JSON that is only stored and returned stays encoded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from sandbox.extend_api.workflows.steps import Step, Workflow

PENDING = "PENDING"
PROCESSING = "PROCESSING"
CANCELLING = "CANCELLING"
NEEDS_REVIEW = "NEEDS_REVIEW"
PROCESSED = "PROCESSED"
FAILED = "FAILED"
REJECTED = "REJECTED"
CANCELLED = "CANCELLED"

STATUSES = frozenset((PENDING, PROCESSING, CANCELLING, NEEDS_REVIEW, PROCESSED, FAILED, REJECTED, CANCELLED))
CANCELLABLE = frozenset((PENDING, PROCESSING))
UNSETTLED = frozenset((PENDING, PROCESSING, CANCELLING))


def new_id(prefix: str) -> str:
    """Return a new id in Extend's form, e.g. ``workflow_run_xKm9pNv3qWsY_jL2tR5Dh``."""
    return f"{prefix}_{secrets.token_urlsafe(16)[:21]}"


def now_ms() -> int:
    """Return the current time in milliseconds."""
    return time.time_ns() // 1_000_000


def share(key: str) -> float:
    """Return a number in [0, 1) that depends only on ``key``: a fraction is always of the same inputs."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def iso(milliseconds: int | None) -> str | None:
    """Return a time in the API's format, e.g. ``2025-04-28T17:01:39.285Z``."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclasses.dataclass(slots=True)
class StoredFile:
    """A file; ``url`` and ``password`` are secrets and appear in no output.

    :param content: its bytes (raw texts) or their path on disk; None before the download.
    :param parent_id: the file that it was split off.
    :param split: its place in the parent file.
    """

    id: str
    name: str
    created_at: int
    updated_at: int
    type: str | None = None
    page_count: int | None = None
    content: bytes | Path | None = None
    url: str | None = dataclasses.field(default=None, repr=False)
    password: str | None = dataclasses.field(default=None, repr=False)
    parent_id: str | None = None
    split: Mapping[str, Any] | None = None


@dataclasses.dataclass(slots=True)
class StepRun:
    """One step of one run, with its processor run.

    :param files: the files that it processed: those of the run, or one that was split off.
    :param parse_run_id: the parse run that has read its file.
    :param parse_credits: the cost of that parse run, if this step started it.
    :param output: JSON: ``{value, metadata}`` of an extraction, ``{id, type, …}`` of a classification, or the
        result of a step without a processor.
    :param reviewed_output: the output after a reviewer's edits; None without edits.
    :param edits: a reviewer's edits, ``{path: {originalValue, editedValue, …}}``.
    :param announced: True if its end has been an event.
    """

    id: str
    step: Step
    files: tuple[StoredFile, ...]
    processor_run_id: str
    status: str
    created_at: int
    updated_at: int
    credits: float = 0.0
    pages: int = 0
    parse_run_id: str | None = None
    parse_credits: float = 0.0
    output: bytes | None = None
    reviewed_output: bytes | None = None
    edits: dict[str, Any] | None = None
    reviewed: bool = False
    failure_reason: str | None = None
    failure_message: str | None = None
    announced: bool = False


@dataclasses.dataclass(slots=True)
class Run:
    """A workflow run. ``created_seq`` and ``updated_seq`` order runs without ties; the store sets them.

    :param key: identity of the input across runs, see :func:`input_key`.
    :param attempt: 1 for the first run of its key, 2 for the second, …
    :param listable_at: listings omit the run before this time.
    :param taken: True if the run is not queued any more.
    :param through_api: False if it was started in the dashboard.
    """

    id: str
    name: str
    workflow: Workflow
    version: str
    status: str
    priority: int
    key: str
    attempt: int
    metadata: bytes
    files: tuple[StoredFile, ...]
    created_at: int
    updated_at: int
    listable_at: int
    batch_id: str | None = None
    outputs: Mapping[str, Any] | None = None
    created_seq: int = 0
    updated_seq: int = 0
    taken: bool = False
    through_api: bool = True
    started_at: int | None = None
    ended_at: int | None = None
    steps: tuple[StepRun, ...] = ()
    failure_reason: str | None = None
    failure_message: str | None = None
    reviewed: bool = False
    reviewed_at: int | None = None
    reviewed_by: str | None = None
    rejection_note: str | None = None

    @property
    def credits(self) -> float:
        """The cost of the run so far: the sum over its steps."""
        return sum(step.credits + step.parse_credits for step in self.steps)


class FileRef(msgspec.Struct, frozen=True, kw_only=True):
    """An input file of a request, the same for both API versions."""

    url: str | None = None
    id: str | None = None
    text: str | None = None
    name: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"FileRef(name={self.name!r}, id={self.id!r})"


class RunOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One run to create, the same for both API versions."""

    workflow_id: str
    version: str | None
    files: tuple[FileRef, ...]
    priority: int
    metadata: bytes = b"{}"
    name: str | None = None
    outputs: dict[str, Any] | None = None
