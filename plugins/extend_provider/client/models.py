"""Requests to Extend and its answers, in one vocabulary for both API versions.

Statuses, step types and timestamps stay the plain strings that were received: Extend announces that new ones
may appear at any time, and an unknown value must reach the warehouse. Timestamps are RFC 3339 in UTC.
Whatever can hold a file URL, a document's text or a password is left out of ``repr``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

#: What kind of processor made a result.
ResultKind = Literal["extract", "classify", "split", "parse"]


class RunStatus:
    """The workflow run statuses known today; a run may carry any other string."""

    PENDING: Final = "PENDING"
    PROCESSING: Final = "PROCESSING"
    CANCELLING: Final = "CANCELLING"
    NEEDS_REVIEW: Final = "NEEDS_REVIEW"
    PROCESSED: Final = "PROCESSED"
    FAILED: Final = "FAILED"
    REJECTED: Final = "REJECTED"
    CANCELLED: Final = "CANCELLED"


@dataclasses.dataclass(frozen=True, slots=True)
class FileInput:
    """A file to process: exactly one of ``url``, ``file_id`` and ``text``.

    :param url: where Extend can download the file, e.g. a presigned URL.
    :param file_id: a file uploaded to Extend before.
    :param text: raw text.
    :param name: the name the file gets at Extend; for ``url`` and ``text``.
    :param password: opens a protected file; for ``url``.
    """

    url: str | None = dataclasses.field(default=None, repr=False)
    file_id: str | None = None
    text: str | None = dataclasses.field(default=None, repr=False)
    name: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class RunInput:
    """One file of a workflow run, with outputs that are already known.

    :param outputs: ``{"processorId": …, "output": …}`` each; the processor is not run, its output is taken.
    """

    file: FileInput
    outputs: Sequence[Mapping[str, Any]] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class BatchInput:
    """One input of a batch: a file, what comes back with its run (``metadata``), ``secrets`` for steps."""

    file: FileInput
    metadata: Mapping[str, Any] | None = None
    secrets: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False)


class _Record(msgspec.Struct, frozen=True):
    """A part of an answer. To make one takes a third of what a frozen dataclass takes; a run has several.

    :cvar _hidden: the fields that ``repr`` leaves out.
    """

    _hidden: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        shown = (name for name in self.__struct_fields__ if name not in self._hidden)
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


class Split(_Record, frozen=True):
    """A part of a file that has become a file of its own.

    :param type: the kind of document; ``identifier`` distinguishes several of one type.
    :param start_page: its first page in the parent file, from 1; ``end_page`` is its last one.
    :param observation: why it was split off, in Extend's words.
    """

    _hidden: ClassVar = frozenset({"observation"})

    id: str | None = None
    type: str | None = None
    identifier: str | None = None
    start_page: int | None = None
    end_page: int | None = None
    file_id: str | None = None
    name: str | None = None
    classification_id: str | None = None
    observation: str | None = None


class StoredFile(_Record, frozen=True):
    """A file at Extend. ``type`` is Extend's word for the format, e.g. ``PDF`` or ``IMG``.

    :param split: its place in the parent file, if it was split off one.
    """

    _hidden: ClassVar = frozenset({"presigned_url"})

    id: str
    name: str | None = None
    type: str | None = None
    page_count: int | None = None
    parent_file_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    presigned_url: str | None = None
    split: Split | None = None


class RunSummary(_Record, frozen=True):
    """A workflow run as a listing shows it: enough to poll it, without results.

    :param status: one of :class:`RunStatus` or a status not known here.
    :param workflow_version: ``"3"``, ``"draft"``, or the version's id where its number is not given.
    :param credits: what the run has cost so far, its steps included; None when not given.
    """

    id: str
    status: str
    batch_id: str | None = None
    workflow_id: str | None = None
    workflow_name: str | None = None
    workflow_version: str | None = None
    dashboard_url: str | None = None
    file_names: tuple[str, ...] = ()
    created_at: str | None = None
    updated_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    credits: float | None = None
    workflow_version_name: str | None = None


class Extraction(_Record, frozen=True):
    """The output of an extractor.

    :param value: an object as a rule; null, a text or a list are values too.
    :param metadata: by path into ``value``, spelled as Extend does (``line_items[0].amount``): confidences
        and citations, the latter with ``page: {number, width, height}`` in both API versions.
    """

    _hidden: ClassVar = frozenset({"value", "metadata"})

    value: Any
    metadata: Mapping[str, Any]


class ProcessorResult(_Record, frozen=True):
    """The result of one processor for a file.

    :param schema: JSON Schema of an extractor's value; None for other kinds and for extractors without one.
    :param extraction: the output of an extractor; None for other kinds, and until there is one.
    :param initial: the extractor's output before a review; None if there was no review.
    :param classification: ``{id, type, confidence, …}`` of a classifier.
    :param splits: the files that a splitter made.
    :param edits: by path: what a reviewer changed, and the note to it.
    """

    _hidden: ClassVar = frozenset({"schema", "edits"})

    kind: ResultKind
    id: str | None
    status: str | None
    processor_id: str | None = None
    processor_name: str | None = None
    processor_version: str | None = None
    schema: Mapping[str, Any] | None = None
    extraction: Extraction | None = None
    initial: Extraction | None = None
    classification: Mapping[str, Any] | None = None
    splits: tuple[Split, ...] = ()
    edits: Mapping[str, Any] | None = None
    failure_reason: str | None = None
    failure_message: str | None = None
    credits: float | None = None
    dashboard_url: str | None = None
    reviewed: bool = False
    edited: bool = False

    @property
    def value(self) -> Any:
        """The extracted value; None if there is none."""
        return None if self.extraction is None else self.extraction.value

    @property
    def metadata(self) -> Mapping[str, Any] | None:
        """The metadata of the extracted value's fields; None without an extraction."""
        return None if self.extraction is None else self.extraction.metadata


class Check(_Record, frozen=True):
    """One rule of a validation: whether the values passed it, and why."""

    _hidden: ClassVar = frozenset({"message"})

    name: str | None
    passed: bool | None
    reason: str | None = None
    message: str | None = None


class StepRun(_Record, frozen=True):
    """One step of a run. ``type`` is e.g. ``EXTRACT``, ``CLASSIFY`` or a type not known here.

    :param output: its answer, without the output of an extraction or a parse, which ``result`` has.
    :param files: the files that it processed.
    :param passed: whether a validation was passed as a whole; ``checks`` are its rules.
    :param branch: the branch that a router has chosen.
    """

    _hidden: ClassVar = frozenset({"output", "raw"})

    id: str | None
    type: str
    name: str | None
    status: str | None
    result: ProcessorResult | None = None
    output: Mapping[str, Any] | None = None
    files: tuple[StoredFile, ...] = ()
    passed: bool | None = None
    checks: tuple[Check, ...] = ()
    branch: str | None = None
    raw: Mapping[str, Any] = msgspec.field(default_factory=dict)


class WorkflowRun(RunSummary, frozen=True):
    """A workflow run with all its results.

    :param raw: the run as it was decoded.
    :param received: its JSON text, byte for byte as it was received, of a run that was asked for by its id:
        it keeps what decoding loses (digits, escapes, repeated keys).
    """

    _hidden: ClassVar = frozenset({"raw", "received"})

    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    failure_reason: str | None = None
    failure_message: str | None = None
    reviewed: bool = False
    reviewed_by: str | None = None
    reviewed_at: str | None = None
    rejection_note: str | None = None
    files: tuple[StoredFile, ...] = ()
    steps: tuple[StepRun, ...] = ()
    raw: Mapping[str, Any] = msgspec.field(default_factory=dict)
    received: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A URL that Extend delivers events to.

    :param status: ``enabled``, ``disabled``, or a status not known here.
    :param api_version: the version whose shapes its events have; it never changes.
    :param events: the types that it gets of the whole workspace; what it gets of a workflow is in its
        subscriptions.
    :param options: how events are delivered (``headers``, ``payload``), as the API has them.
    :param signing_secret: what its deliveries are signed with; Extend tells it once, at creation.
    """

    id: str
    url: str
    name: str | None = None
    status: str | None = None
    api_version: str | None = None
    events: tuple[str, ...] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    created_at: str | None = None
    signing_secret: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class WebhookSubscription:
    """The events of one resource that an endpoint gets.

    :param resource_type: ``workflow``, ``extractor``, ``classifier`` or ``splitter``.
    """

    id: str
    endpoint_id: str | None
    resource_type: str | None
    resource_id: str | None
    events: tuple[str, ...] = ()
    created_at: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing; ``next_page_token`` is None on the last one."""

    items: tuple[T, ...]
    next_page_token: str | None = None


def utc_moment(timestamp: str) -> dt.datetime:
    """Return the time that Extend names; without a zone it is UTC."""
    moment = dt.datetime.fromisoformat(timestamp)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
