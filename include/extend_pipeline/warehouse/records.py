"""What goes into a warehouse beside the documents, what comes out of a load, and what can go wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Protocol, Self

import msgspec

from extend_pipeline.documents import Document


class WarehouseError(Exception):
    """The warehouse could not be opened, or a load was undone. Never holds a document's values."""


class SchemaContractError(WarehouseError):
    """A part has fields that the tables have no place for, and ``schema_contract="freeze"`` makes none."""


class WarehouseBusyError(WarehouseError):
    """Another process has held the warehouse for longer than the connection's ``lock_timeout``."""


class Candidate(NamedTuple):
    """A document that has not landed, and the chunks that hold it already: one of each repetition."""

    document: Document
    chunks: tuple[str, ...] = ()


class Claim(NamedTuple):
    """A chunk that holds documents which have not landed yet.

    :ivar version: the version asked for; None for the latest.
    :ivar chunk: its reservation, as whoever planned it has written it.
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
    """What Extend has charged for landed documents of one file type, see :meth:`Warehouse.charges`."""

    file_type: str
    same_version: bool
    documents: int
    credits: float


class DeadLetter(NamedTuple):
    """A document that was sent, failed or was cancelled, and will not be sent by itself.

    :ivar version: the workflow version that was asked for; None for the latest.
    :ivar attempts: runs that it has had.
    :ivar resending: whether somebody sends it again already.
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
        and not once more by what a review or an approval lands.
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
    """A run that has landed, with what is needed to land it again.

    :ivar version: the version that was asked for; None stands for "the latest".
    :ivar raw_uri: the file of the raw zone that holds it as it has landed.
    :ivar steps: what names the runs of its steps, in their order: others, if a reviewer has sent it back.
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

    def to_json(self) -> str:
        """Return the run as one line of JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: bytes) -> LandedRun:
        """Read a run back from what :meth:`to_json` wrote."""
        return msgspec.json.decode(line, type=cls)


#: What becomes of fields that the tables of an extractor have no place for yet.
SchemaContract = Literal["evolve", "freeze", "discard"]


@dataclasses.dataclass(frozen=True, slots=True)
class LandingPolicy:
    """What is asked of a landing.

    :param min_confidence: fields below it are counted; None keeps what holds for a run that has landed.
    :param hold: documents with such a field are in no generated table before somebody has approved them.
    :param schema_contract: ``evolve`` makes a place for new fields and types, ``discard`` leaves them out of
        the tables, ``freeze`` refuses the part; None is what the workflow's last load was asked for.
    """

    min_confidence: float | None = None
    hold: bool = False
    schema_contract: SchemaContract | None = None


#: What somebody has asked for before stays as it is.
AS_BEFORE: Final = LandingPolicy()


@dataclasses.dataclass(frozen=True, slots=True)
class Landing:
    """What a part has become.

    :ivar documents: distinct documents of the submission; each has exactly one row in ``documents`` now.
    :ivar by_status: those rows by status.
    :ivar by_reason: those rows that have a reason, by reason.
    :ivar credits: credits of all runs in the part, attempts that were superseded included; none if the runs
        have landed before, from the part that counts them.
    :ivar rows: rows written, by table.
    :ivar held: documents whose rows are held back until somebody approves them.
    :ivar refused: whether the part's values were withheld from the tables of its extractors.
    """

    documents: int
    by_status: dict[str, int]
    by_reason: dict[str, int]
    credits: float
    rows: dict[str, int]
    held: int = 0
    refused: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain values, fit for XCom."""
        return dataclasses.asdict(self)


class Warehouse(Protocol):
    """A destination that is open; a context manager that closes it."""

    def __enter__(self) -> Self:
        """Return the open warehouse."""
        ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the warehouse."""
        ...

    def check_writable(self) -> None:
        """Prove that documents can land, and leave nothing behind; to be asked before one is paid for.

        :raises WarehouseError: if a table could not be made, filled and emptied; the message says which.
        """
        ...

    def unlanded(
        self,
        candidates: Iterable[Document],
        *,
        workflow_id: str,
        version: str | None,
        repetition: str = "",
        claims_of: str | None = None,
    ) -> Iterator[Candidate]:
        """Yield, in their order, the candidates that have not been sent to this workflow and version yet.

        A document that went into a batch counts as landed once it has a row, whatever became of it: it was,
        or may have been, paid for. Rows of documents that were never sent (``SKIPPED``, ``OBJECT_*``) cost
        nothing, so these are yielded again. Candidates that already carry a status are passed through.

        :param version: the version asked for; None stands for "the latest".
        :param repetition: only what was sent in this reprocessing counts as landed.
        :param claims_of: only chunks of this repetition hold a document; None: of any.
        """
        ...

    def begin_planning(self) -> None:
        """Keep others from planning or landing until claims are written, or the end, where that can be."""
        ...

    def claims(self, *, workflow_id: str | None = None, version: str | None = None) -> Iterator[Claim]:
        """Yield the chunks that hold documents, the oldest first.

        :param workflow_id: only those of this workflow and ``version``; None for all.
        """
        ...

    def claim(
        self,
        new: Iterable[tuple[Document, str]],
        *,
        workflow_id: str,
        version: str | None,
        repetition: str = "",
        freed: Iterable[str] = (),
        claims_of: str | None = None,
    ) -> bool:
        """Write down, all at once, which chunk holds each document until it lands.

        Call it in the same context as :meth:`unlanded`, so that nobody plans in between. A warehouse that
        cannot keep others out is asked once more afterwards: if somebody else has claimed one of the
        documents at the same moment, none of these claims stays, and the answer is False.

        :param new: documents that nobody holds, each with its chunk's reference.
        :param freed: chunks whose claims end at the same time.
        :param claims_of: see :meth:`unlanded`.
        """
        ...

    def end_claims(self, chunks: Iterable[str]) -> None:
        """End all claims of chunks: their documents are free to be planned."""
        ...

    def dead_letters(
        self, *, workflow_id: str | None = None, version: str | None = None
    ) -> Iterator[DeadLetter]:
        """Yield the documents that failed or were cancelled and will not be sent by themselves.

        :param workflow_id: only those of this workflow and ``version``; None for all.
        :param version: the version asked for; None stands for "the latest".
        """
        ...

    def charges(self, *, workflow_id: str, version: str | None) -> list[Charge]:
        """Return what was charged for the workflow's landed documents, by file type.

        :param version: the version asked for; None stands for "the latest". Its charges are apart from those
            of all other versions.
        """
        ...

    def land(
        self,
        submission: Iterable[Document],
        raw_lines: Iterable[bytes],
        *,
        provenance: Provenance,
        policy: LandingPolicy = AS_BEFORE,
        withhold: bool = False,
    ) -> Landing:
        """Land one part whole, or nothing of it: one ``documents`` row for each document of the submission.

        Landing the same part again, or parts in another order, ends in the same rows: what a document has is
        replaced, unless it belongs to a newer run. A sent document without a run becomes ``FAILED`` with the
        reason ``RUN_MISSING``. Where extractions of megabytes each are in a part, a DuckDB file takes it in
        several transactions, each document whole in one of them; after a break in between, land it again.

        :param submission: the documents of the part, those that were not sent with their status.
        :param raw_lines: lines ``{"api_version": …, "run": …}`` of the raw zone, with ``"approval"`` where
            somebody has decided about a run's low confidence, and ``"decided": {"by": …, "at": …}``.
        :param withhold: a part that the contract ``freeze`` refuses lands without its values: documents, runs
            and ``fields`` have their rows, the tables of its extractors none, and a row in ``problems``
            (``SCHEMA_CONTRACT``) names the part.
        :raises WarehouseError: if nothing could be landed; the message names the part and the statement.
        :raises SchemaContractError: if the contract ``freeze`` refuses the part and nothing is withheld.
        """
        ...

    def runs_in_review(self, extend_conn_id: str, *, include_deleted: bool = False) -> Iterator[LandedRun]:
        """Yield, batch by batch, the runs in ``NEEDS_REVIEW`` that were submitted through this connection.

        :param include_deleted: also those that Extend has said to be gone.
        """
        ...

    def note_deleted_runs(self, run_ids: Iterable[str], message: str) -> int:
        """Say on the rows of documents in review that their runs are gone; return how many rows that are."""
        ...

    def held_runs(self, *, dag_id: str, run_id: str, group_id: str) -> Iterator[LandedRun]:
        """Yield, batch by batch, the runs landed by a task group in a DAG run that wait for an approval."""
        ...

    def landed_parts(self) -> Iterator[str]:
        """Yield what names the parts that the load ledger knows, see :attr:`Provenance.part`.

        None have landed if the table of documents is gone, whatever the ledger says.
        """
        ...

    def refused_parts(self) -> Iterator[str]:
        """Yield those of :meth:`landed_parts` whose values were withheld, see :meth:`land`."""
        ...

    def forget_parts(self, parts: Iterable[str]) -> None:
        """Take parts out of the load ledger, so that they count as not landed; other tables stay."""
        ...

    def counts(self) -> dict[str, int]:
        """Return the number of rows of every table of the dataset."""
        ...
