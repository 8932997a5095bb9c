"""What a DAG author writes: frozen objects that check themselves, one for each reason to change.

| object | says |
|---|---|
| :class:`Deployment`, :class:`Warehouse` | where this Airflow reads, works and writes; DAGs share one |
| :class:`S3`, :class:`GCS`, :class:`Azure`, :class:`Files` | which documents |
| :class:`Arrivals` | the documents that S3 announces, and when a run takes them |
| :class:`Workflow` | what Extend does with them |
| :class:`Budget` | how many, and what they may cost |
| :class:`Quality` | which results are good enough |
| :class:`Execution` | how they are sent and waited for |
| :class:`Reprocess` | what is sent, and paid for, once more |

A field of type :data:`Templated` takes a value, a Jinja template, or the output of another task; it is
rendered once, by the first task. Every other field shapes the DAG and must be known when the file is parsed.
A wrong value is an error that names object and field: when the DAG file is parsed, or when it is rendered.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeVar, Union

from extend_pipeline.arrivals.watch_settings import WATCH_LABELS, WatchSettings, check_templates
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Shape, check_literals, check_repetition, check_shape
from extend_provider.client.validation import is_templated

if TYPE_CHECKING:
    from airflow.sdk import Asset, XComArg

T = TypeVar("T")
#: A value, a Jinja template that gives it, or the output of another task.
Templated = Union[T, str, "XComArg"]


@dataclasses.dataclass(frozen=True)
class _Checked:
    """Checks its fields when it is made."""

    #: Fields whose setting has another name, see :class:`~extend_pipeline.settings.Settings`.
    _settings: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        owner, fields = type(self).__name__, self._fields_by_setting()
        check_shape(self._values(), lambda name: f"{owner}.{name}")
        check_literals(
            {setting: getattr(self, name) for setting, name in fields.items()},
            label=lambda setting: f"{owner}.{fields[setting]}",
            partial=True,
        )

    def to_settings(self) -> dict[str, Any]:
        """Return what the first task renders."""
        return {setting: getattr(self, name) for setting, name in self._fields_by_setting().items()}

    @classmethod
    def labels(cls) -> dict[str, str]:
        """Return, by setting, how an error names the field."""
        names = [field.name for field in dataclasses.fields(cls) if _is_setting(field)]
        return {cls._settings.get(name, name): f"{cls.__name__}.{name}" for name in names}

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _fields_by_setting(self) -> dict[str, str]:
        """Return the fields that are settings; of two that are the same one, that which is given."""
        found: dict[str, str] = {}
        for field in dataclasses.fields(self):
            setting = self._settings.get(field.name, field.name)
            if _is_setting(field) and (setting not in found or getattr(self, field.name) is not None):
                found[setting] = field.name
        return found


def _is_setting(field: dataclasses.Field[Any]) -> bool:
    return field.name not in Shape.model_fields and field.name != "warehouse"


@dataclasses.dataclass(frozen=True)
class Warehouse(_Checked):
    """Where documents land.

    :param conn_id: the connection; of type ``duckdb``, its host is the file.
    :param dataset: the schema that holds the tables.
    :param pool: the Airflow pool of the tasks that write; one slot, because a DuckDB file has one writer.
    """

    conn_id: Templated[str] = "warehouse_default"
    _: dataclasses.KW_ONLY
    dataset: Templated[str] = "extend"
    pool: str = "extend_warehouse"

    _settings: ClassVar[Mapping[str, str]] = {"conn_id": "warehouse_conn_id"}


@dataclasses.dataclass(frozen=True)
class Deployment(_Checked):
    """Where a pipeline reads, works and writes; the DAGs of one Airflow share it.

    :param workspace: where files between tasks and the raw answers live, ``file:///…`` or
        ``s3://<connection id>@bucket/…``; neither in a source nor around it.
    :param extend_conn_id: the connection of type ``extend``.
    :param pool: the Airflow pool that bounds the batches in flight; its slots must include deferred tasks.
    """

    workspace: Templated[str]
    _: dataclasses.KW_ONLY
    extend_conn_id: Templated[str] = "extend_default"
    warehouse: Warehouse = Warehouse()
    pool: str = "extend"

    def __post_init__(self) -> None:
        check_type("Deployment.warehouse", self.warehouse, Warehouse)
        super().__post_init__()

    def to_settings(self) -> dict[str, Any]:
        """Return what the first task renders."""
        return {**super().to_settings(), **self.warehouse.to_settings()}


@dataclasses.dataclass(frozen=True)
class Source(_Checked):
    """What the kinds of sources have in common; see :class:`S3`."""

    address: Templated[str | Sequence[str]]
    _: dataclasses.KW_ONLY
    glob: Templated[str] | None = None
    modified_from: Templated[dt.date] | None = None
    modified_to: Templated[dt.date] | None = None
    conn_id: Templated[str] | None = None

    _settings: ClassVar[Mapping[str, str]] = {"address": "source", "conn_id": "source_conn_id"}
    #: Which addresses the object takes; any, if there are none.
    _schemes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        written = [self.address] if isinstance(self.address, str) else self.address
        for address in written if self._schemes and isinstance(written, Sequence) else ():
            begin = re.match(r"\s*([a-z][a-z0-9+.-]*)://", address) if isinstance(address, str) else None
            if begin and begin[1] not in self._schemes:
                raise PipelineInputError(
                    f"{type(self).__name__}.address: must begin with {self._schemes[0]}://, is {address!r}"
                )
        super().__post_init__()


@dataclasses.dataclass(frozen=True)
class S3(Source):
    """Documents in S3.

    :param address: a prefix to list, ``s3://bucket/folder/``; or several addresses, a list or a line each, of
        which those that end in ``/`` are prefixes and the others single objects. It may be empty only where
        ``reprocess="failed"`` looks the documents up in the warehouse.
    :param glob: only objects whose key, after the prefix, matches; see :mod:`extend_pipeline.sources.globs`.
    :param modified_from: only objects last modified at this time or later, UTC without a zone.
    :param modified_to: only objects last modified before this time.
    :param conn_id: the AWS connection that reads them.
    """

    conn_id: Templated[str] | None = "aws_default"

    _settings: ClassVar[Mapping[str, str]] = {"address": "source", "conn_id": "aws_conn_id"}
    _schemes: ClassVar[tuple[str, ...]] = ("s3", "s3a", "s3n")


@dataclasses.dataclass(frozen=True)
class GCS(Source):
    """Documents in Google Cloud Storage, ``gs://bucket/folder/``; see :class:`S3` for the other fields.

    :param conn_id: the connection that reads them; without it, what Google's library finds.
    """

    _schemes: ClassVar[tuple[str, ...]] = ("gs", "gcs")


@dataclasses.dataclass(frozen=True)
class Azure(Source):
    """Documents in Azure Blob Storage, ``abfs://container/folder/``; see :class:`S3` for the other fields.

    :param conn_id: the connection that reads them; without it, what Azure's library finds.
    """

    _schemes: ClassVar[tuple[str, ...]] = ("abfs", "abfss", "adl")


@dataclasses.dataclass(frozen=True)
class Files(Source):
    """Documents at any addresses, of one store or of several; see :class:`S3` for the other fields.

    It takes ``file:///folder/`` (all workers must see the same), ``https://host/a.pdf`` (single documents),
    whatever else Airflow's object storage knows, and the addresses of the other classes. An address that is
    given as plain text, without any of these objects, is read like this.

    :param conn_id: the connection that reads what is not in S3; S3 is read through ``aws_default``.
    """


@dataclasses.dataclass(frozen=True)
class Arrivals(_Checked):
    """Documents that S3 announces to a queue; a DAG that is scheduled on :meth:`asset` takes them in bundles.

    Fields may be templates of Variables and Connections (``var``, ``conn``); the triggerer renders them.

    :param queue: the URL of the queue (SQS), which nothing else reads.
    :param name: the asset's in Airflow, and of the folder in the workspace; one for each queue.
    :param address: only objects below this prefix, or these.
    :param glob: only objects whose key, after the prefix, matches; see :mod:`extend_pipeline.sources.globs`.
    :param at_least: start a run when so many documents have arrived,
    :param or_after: or when the first of them has waited for so long, however few there are.
    :param conn_id: the AWS connection that reads the queue and the documents.
    """

    queue: Templated[str]
    _: dataclasses.KW_ONLY
    name: str = "extend_arrivals"
    address: Templated[str | Sequence[str]] | None = None
    glob: Templated[str] | None = None
    at_least: Templated[int] = 50
    or_after: dt.timedelta = dt.timedelta(minutes=5)
    conn_id: Templated[str] = "aws_default"

    def __post_init__(self) -> None:
        check_shape({"name": self.name, "or_after": self.or_after}, WATCH_LABELS.__getitem__)
        check_templates(self._watched(), WATCH_LABELS)
        check_literals(self._watched(), WatchSettings, label=WATCH_LABELS.__getitem__, partial=True)

    def asset(self, deployment: Deployment) -> Asset:
        """Return the asset to schedule a DAG on; its watcher reads the queue while the DAG is not paused.

        :param deployment: the one that the DAG uses: what has arrived waits in its workspace.
        """
        # Imported here, because only such a DAG needs Airflow's triggers when it is parsed.
        from airflow.sdk import Asset, AssetWatcher

        from extend_pipeline.arrivals.trigger import ArrivalsTrigger

        check_type("deployment", deployment, Deployment)
        values = {**self._watched(), "workspace": deployment.workspace}
        check_templates(values, WATCH_LABELS)
        check_literals(values, WatchSettings, label=WATCH_LABELS.__getitem__)
        given = {name: value for name, value in values.items() if value is not None}
        watcher = AssetWatcher(name=self.name, trigger=ArrivalsTrigger(**given))
        return Asset(self.name, group="extend", watchers=[watcher])

    def to_settings(self) -> dict[str, Any]:
        """Return what the first task renders."""
        return {"arrivals": self.name, "aws_conn_id": self.conn_id}

    def _watched(self) -> dict[str, Any]:
        """Return what the trigger renders, as plain JSON."""
        address = [*self.address] if isinstance(self.address, tuple) else self.address
        return {
            "arrivals": self.name,
            "queue": self.queue,
            "address": address,
            "glob": self.glob,
            "at_least": self.at_least,
            "or_after": self.or_after.total_seconds(),
            "aws_conn_id": self.conn_id,
        }


@dataclasses.dataclass(frozen=True)
class Workflow(_Checked):
    """What Extend does with the documents.

    :param id: the Extend workflow.
    :param version: a published version's number, or ``draft``; the latest published one when left out.
    :param priority: 1 is first, 100 is last; Extend's default for batches is 90.
    :param metadata: a JSON object that comes back with each document's run, up to 4 KiB, with templates as
        values. Extend's ``extend:usage_tags`` is a list of tags for billing. It is shown in Airflow and kept
        in the workspace, so it is no place for secrets.
    """

    id: Templated[str]
    _: dataclasses.KW_ONLY
    version: Templated[int] | None = None
    priority: Templated[int] | None = None
    metadata: Templated[Mapping[str, Any]] | None = None

    _settings: ClassVar[Mapping[str, str]] = {"id": "workflow_id"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget(_Checked):
    """How many documents a run sends, and what they may cost.

    :param limit: send at most so many; the rest is left for a later run.
    :param max_documents: refuse the whole plan, before anything is reserved or sent, if more documents are to
        be sent after ``limit`` has cut it.
    :param max_credits: refuse it likewise if more credits are to be expected, going by what was charged for
        landed documents of the workflow; also if none was, because the cost is unknown then.
    """

    limit: Templated[int] | None = None
    max_documents: Templated[int] | None = None
    max_credits: Templated[float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality(_Checked):
    """Which results are good enough.

    :param max_failed: fail the run, after everything has landed, if more documents failed.
    :param max_failed_ratio: the same by share of the settled documents, 0 to 1.
    :param on_needs_review: documents that wait for a reviewer at Extend are landed as they are (``land``),
        waited for (``wait``), or landed and then fail the run (``fail``).
    :param min_confidence: flag documents with a field of which Extend was less sure, 0 to 1.
    :param hold_below: the same threshold, and besides keep the rows of such documents out of the typed tables
        until somebody approves them in Airflow, who is asked once all chunks have landed.
    :param approval_timeout: how long that question waits for an answer; without one they stay out.
    :param schema_contract: when an extractor's schema has changed, the tables gain what they lack
        (``evolve``), the load fails before anything of it lands (``freeze``), or new fields stay out of the
        typed tables (``discard``) and are in ``fields`` and ``problems`` alone.
    """

    max_failed: Templated[int] | None = None
    max_failed_ratio: Templated[float] | None = None
    on_needs_review: Literal["land", "wait", "fail"] = "land"
    min_confidence: Templated[float] | None = None
    hold_below: Templated[float] | None = None
    approval_timeout: dt.timedelta = dt.timedelta(days=7)
    schema_contract: Templated[Literal["evolve", "freeze", "discard"]] = "evolve"

    _settings: ClassVar[Mapping[str, str]] = {"hold_below": "min_confidence"}

    def __post_init__(self) -> None:
        if self.hold_below == "":
            raise PipelineInputError("Quality.hold_below: must be a share from 0 to 1, or None, is ''")
        if self.hold_below is not None and self.min_confidence is not None:
            raise PipelineInputError(
                "Quality.min_confidence: must be left out beside hold_below, which flags documents too"
            )
        super().__post_init__()

    @property
    def holds(self) -> bool:
        """Whether documents may be held back until somebody approves them."""
        return self.hold_below is not None

    def to_settings(self) -> dict[str, Any]:
        """Return what the first task renders."""
        how = {"on_needs_review": self.on_needs_review, "on_low_confidence": "hold" if self.holds else "flag"}
        return {**super().to_settings(), **how}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution(_Checked):
    """How documents are sent and waited for.

    :param chunk_size: documents per batch, 1 to 1,000.
    :param max_attempts: how often a document is sent at the most, 1 to 10: what failed for a passing reason,
        was cancelled or has no run is sent again, alone, before its chunk lands.
    :param transfer: ``presign`` lets Extend read by presigned URL, and uploads what a store has no URLs for;
        ``upload`` sends the bytes of all.
    :param expires_in: seconds for which a presigned URL is valid; Extend queues batches, so not too few, and
        no longer than the credentials that sign it.
    :param timeout: how long a chunk may take, all attempts together; and how long an outage of Extend is
        waited out while its runs are collected. No outage costs a retry.
    :param on_timeout: then the batch goes on at Extend (``leave``: clear the task to wait for it again), or
        what has not settled is cancelled (``cancel``).
    :param cancel_on_kill: ending a waiting task by hand (mark failed or success, delete the run) cancels what
        has not settled at Extend, unless another run waits for the same chunk; clearing it never does.
    :param missing_after: how long a batch may list fewer runs than were submitted, all of them settled and
        nothing changing, before the missing ones count as gone; at the most half of ``timeout``. Up to 3 of
        them, or 10 % and at the most 50, are sent again; with more, or with no run listed at all, the task
        fails and says what to do. Generous, because what is sent again is paid for again.
    :param poke_interval: how long to wait between two looks at a batch, at the most.
    """

    chunk_size: Templated[int] = 1000
    max_attempts: Templated[int] = 3
    transfer: Templated[Literal["presign", "upload"]] = "presign"
    expires_in: Templated[int] = 1800
    timeout: dt.timedelta = dt.timedelta(hours=24)
    on_timeout: Literal["leave", "cancel"] = "leave"
    cancel_on_kill: bool = True
    missing_after: dt.timedelta = dt.timedelta(hours=1)
    poke_interval: dt.timedelta = dt.timedelta(minutes=1)

    @classmethod
    def backfill(cls, **changes: Any) -> Execution:
        """Return the execution of a large backfill that may queue behind everything else for days.

        A chunk may take a week, missing runs are waited for six hours, and a batch is looked at every five
        minutes, so that the looks leave Extend's rate limit to the submissions.

        :param changes: fields that are to have other values.
        """
        patient = {
            "timeout": dt.timedelta(days=7),
            "missing_after": dt.timedelta(hours=6),
            "poke_interval": dt.timedelta(minutes=5),
        }
        return cls(**{**patient, **changes})

    def to_settings(self) -> dict[str, Any]:
        """Return what the first task renders."""
        return {**super().to_settings(), "poke_interval": self.poke_interval.total_seconds()}


@dataclasses.dataclass(frozen=True)
class Reprocess(_Checked):
    """What is sent, and paid for, once more, although it has landed before.

    :param which: ``none``; ``all`` that the source holds; or those that ``failed``, which are looked up in
        the warehouse instead.
    :param repetition: a name for what ``all`` sends again; each document is sent once in it, and a later run
        continues it. Left out: the one of this source that is open, or a new one.
    """

    which: Templated[Literal["none", "failed", "all"]]
    _: dataclasses.KW_ONLY
    repetition: Templated[str] | None = None

    _settings: ClassVar[Mapping[str, str]] = {"which": "reprocess"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_templated(self.which) or is_templated(self.repetition)):
            try:
                check_repetition(str(self.repetition or "").strip(), str(self.which))
            except ValueError as error:
                raise PipelineInputError(f"Reprocess.repetition: {error}") from None


#: How errors name the settings that every pipeline has.
_OF_A_DEPLOYMENT: Final[dict[str, str]] = {
    **Deployment.labels(),
    **Warehouse.labels(),
    "into_dataset": "into.dataset",
    "into_warehouse_conn_id": "into.conn_id",
}
_OF_DOCUMENTS: Final[dict[str, str]] = {
    setting: field
    for kind in (Workflow, Budget, Quality, Execution, Reprocess)
    for setting, field in kind.labels().items()
} | {
    "min_confidence": "Quality.min_confidence or hold_below",
    "arrivals": "source",
    "aws_conn_id": "S3.conn_id",
    "source_conn_id": "source.conn_id",
    **{name: f"source.{name}" for name in ("glob", "modified_from", "modified_to")},
}


def deployment_label(setting: str) -> str:
    """Return how an error names a setting of any pipeline: the object and the field that an author writes."""
    return _OF_A_DEPLOYMENT.get(setting, setting)


def label(setting: str) -> str:
    """Return the same for a setting of ``documents_to_warehouse``."""
    return _OF_DOCUMENTS.get(setting) or deployment_label(setting)


def check_type(name: str, value: Any, kind: type) -> None:
    """See that an argument is one of the objects.

    :raises PipelineInputError: naming the argument.
    """
    if not isinstance(value, kind):
        # Not what it is: a text in the place of a deployment may be an address with a password.
        raise PipelineInputError(f"{name}: must be a {kind.__name__}(…), is of type {type(value).__name__}")


def source_settings(source: Any) -> dict[str, Any]:
    """Return what the first task renders of a source; plain addresses are read like :class:`Files`."""
    return source.to_settings() if isinstance(source, Source | Arrivals) else {"source": source}
