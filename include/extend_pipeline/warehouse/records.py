"""What the pipeline passes to a warehouse beside documents, what it gets back, and the errors."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from extend_pipeline.documents import Document


class WarehouseError(Exception):
    """The warehouse could not be opened, or a load was undone. The message never has a document's values."""


class SchemaContractError(WarehouseError):
    """A part has fields without a column, and ``schema_contract="freeze"`` adds none."""


class WarehouseBusyError(WarehouseError):
    """Another process has held the warehouse for longer than the connection's ``lock_timeout``."""


class UnlandedDocument(NamedTuple):
    """A document that has not landed, and the chunks that claim it: at most one of each repetition."""

    document: Document
    chunks: tuple[str, ...] = ()


class Claim(NamedTuple):
    """A chunk that claims documents which have not landed yet.

    :ivar version: the version asked for; None for the latest.
    :ivar chunk: the reference of its reservation, as its planner wrote it.
    :ivar claimed_at: timezone-aware.
    :ivar documents: how many of its documents have not landed.
    """

    workflow_id: str
    version: str | None
    repetition: str
    chunk: str
    claimed_at: datetime
    documents: int


class Charge(NamedTuple):
    """What Extend has charged for landed documents of one file type."""

    file_type: str
    same_version: bool
    documents: int
    credits: float


class DeadLetter(NamedTuple):
    """A document that was sent, then failed or was cancelled, and is not sent again automatically.

    :ivar version: the workflow version that was asked for; None for the latest.
    :ivar attempts: runs that it has had.
    :ivar resending: whether a run is sending it again.
    """

    document: Document
    workflow_id: str
    version: str | None
    status: str
    reason: str | None
    message: str | None
    attempts: int
    dashboard_url: str | None
    landed_at: datetime
    resending: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a part comes from; every row of ``documents``, ``runs`` and ``loads`` carries it.

    :param workflow_id: the workflow that the documents were sent to.
    :param version: the workflow version that was asked for; None for the latest published one.
    :param batch_id: Extend's batch; None for documents that were never sent.
    :param raw_uri: the part's file in the raw zone.
    :param repetition: the run that asked for documents that had landed before; empty for the first time.
    :param dag_id: with ``run_id``, ``task_id`` and ``map_index``: the Airflow task that lands the part.
    :param counted: whether the credits of its runs are counted; they are by the part that brought them first,
        and not again when a review or an approval lands the same runs.
    :param landed_at: when it landed, if that was before; None: now.
    """

    workflow_id: str
    version: str | None = None
    batch_id: str | None = None
    raw_uri: str | None = None
    repetition: str = ""
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int = -1
    extend_conn_id: str | None = None
    counted: bool = True
    landed_at: datetime | None = None

    @property
    def part(self) -> str:
        """What names the part in the load ledger: its raw file, its batch, or the task that lands it."""
        task = "/".join(str(item) for item in (self.dag_id, self.run_id, self.task_id, self.map_index))
        return self.raw_uri or self.batch_id or task


@dataclasses.dataclass(frozen=True, slots=True)
class LandedRun:
    """A run that has landed, with all that landing it again needs.

    :ivar version: the version that was asked for; None means the latest.
    :ivar raw_uri: the file of the raw zone that holds it as it has landed.
    :ivar steps: ids of the runs of its steps, in order; they change if a reviewer sends the run back.
    """

    document: Document
    run_id: str
    batch_id: str | None
    workflow_id: str
    version: str | None
    repetition: str
    raw_uri: str | None
    dashboard_url: str | None
    low_confidence: int | None
    lowest_confidence: float | None
    steps: tuple[str, ...]


#: What happens to fields for which an extractor's tables have no column yet.
SchemaContract = Literal["evolve", "freeze", "discard"]


@dataclasses.dataclass(frozen=True, slots=True)
class LandingPolicy:
    """How a part lands.

    :param min_confidence: fields below it are counted; None keeps the threshold of a run that has landed.
    :param hold: a document with such a field enters no generated table until it is approved.
    :param schema_contract: ``evolve`` adds columns for new fields and types, ``discard`` leaves them out of
        the tables, ``freeze`` refuses the part; None: as in the workflow's last load.
    """

    min_confidence: float | None = None
    hold: bool = False
    schema_contract: SchemaContract | None = None


#: Thresholds, approvals and contract stay as they were.
AS_BEFORE: Final = LandingPolicy()


@dataclasses.dataclass(frozen=True, slots=True)
class Landing:
    """The result of landing a part.

    :ivar documents: distinct documents of the submission; each has exactly one row in ``documents`` now.
    :ivar by_status: those rows by status.
    :ivar by_reason: those rows that have a reason, by reason.
    :ivar credits: credits of all runs in the part, superseded attempts included; 0 if another part counts
        these runs.
    :ivar rows: rows written, by table.
    :ivar held: documents whose rows are held back until they are approved.
    :ivar refused: whether the part's values were withheld from the tables of its extractors.
    """

    documents: int
    by_status: dict[str, int]
    by_reason: dict[str, int]
    credits: float
    rows: dict[str, int]
    held: int = 0
    refused: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, as XCom stores them."""
        return dataclasses.asdict(self)
