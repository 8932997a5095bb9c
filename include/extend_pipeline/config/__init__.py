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
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from extend_pipeline.config.arrivals import Arrivals
from extend_pipeline.config.checked import Checked, Templated, check_type
from extend_pipeline.config.deployment import Deployment, Warehouse
from extend_pipeline.config.sources import GCS, S3, Azure, Files, Source, source_settings
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import check_repetition
from extend_provider.client.validation import is_templated

__all__ = [
    "GCS",
    "S3",
    "Arrivals",
    "Azure",
    "Budget",
    "Deployment",
    "Execution",
    "Files",
    "Quality",
    "Reprocess",
    "Source",
    "Templated",
    "Warehouse",
    "Workflow",
    "check_type",
    "deployment_label",
    "label",
    "source_settings",
]


@dataclasses.dataclass(frozen=True)
class Workflow(Checked):
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
class Budget(Checked):
    """How many documents a run sends, and what they may cost.

    :param limit: send at most so many; the rest is left for a later run.
    :param max_documents: refuse the whole plan, before anything is reserved or sent, if more documents are to
        be sent after ``limit`` has cut it.
    :param max_credits: refuse it likewise if the estimate is higher. The estimate is made from what was
        charged for landed documents of the workflow; without charges it is unknown, and the plan is refused.
    """

    limit: Templated[int] | None = None
    max_documents: Templated[int] | None = None
    max_credits: Templated[float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quality(Checked):
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
class Execution(Checked):
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
    :param poke_interval: the longest time between two polls of a batch.
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

        A chunk may take a week, missing runs are waited for six hours, and a batch is polled every five
        minutes, so that polling leaves Extend's rate limit to the submissions.

        :param changes: fields with other values.
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
class Reprocess(Checked):
    """What is sent, and paid for, again although it has landed before.

    :param which: ``none``; ``all`` that the source holds; or those that ``failed``, which are looked up in
        the warehouse instead.
    :param reasons: only those that ``failed`` for one of these reasons: Extend's, as ``dead_letters`` has it,
        or the status where it gave none. A list, or a line each.
    :param documents: only those of ``failed`` with one of these ids. A list, or a line each.
    :param repetition: a name for what ``all`` sends again; each document is sent once in it, and a later run
        continues it. Left out: the one of this source that is open, or a new one.
    """

    which: Templated[Literal["none", "failed", "all"]]
    _: dataclasses.KW_ONLY
    repetition: Templated[str] | None = None
    reasons: Templated[str | Sequence[str]] | None = None
    documents: Templated[str | Sequence[str]] | None = None

    _settings: ClassVar[Mapping[str, str]] = {
        "which": "reprocess",
        "reasons": "failed_reasons",
        "documents": "failed_documents",
    }

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
