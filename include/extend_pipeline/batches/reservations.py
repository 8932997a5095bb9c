"""Reservations: which chunk holds a document that is planned and has not landed, and which plan owns it.

Invariants: a reservation is for documents × workflow × version × repetition, named by content and stored in
the workspace; how the documents are sent depends on the run that works on them now. A chunk that no task has
begun to send belongs to its planner while that run is active, and is free afterwards. A chunk that a task has
begun to send is waited for by every run that needs it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import Final, TypedDict

import msgspec
from airflow.sdk import ObjectStoragePath, conf

from extend_pipeline.batches.ledger import RELEASED, Standing, Void, WorkspaceLedger
from extend_pipeline.documents import Document
from extend_pipeline.settings import Settings
from extend_pipeline.storage.formats import Stored, decode, encode
from extend_pipeline.storage.workspace import batch_folder, copy_whole, read_documents
from extend_pipeline.warehouse.records import Claim

#: How long a chunk is left to a run of another Airflow, whose state is unknown here. If that run is still
#: active and comes to the chunk later, it finds it voided and sends nothing.
LEASE: Final = dt.timedelta(hours=24)
#: States of a run that works or will work.
ACTIVE: Final = ("queued", "running")
#: Ledgers read, or written, at the same time: requests to an object store have latency.
PARALLEL: Final = 16


class ChunkReference(TypedDict):
    """Reference to a chunk in XCom.

    ``folder`` is the folder of the run that works on it now, with its settings; ``key``, the number of
    ``documents`` and ``repetition`` are what is reserved. ``plan`` is the plan that made the reference.
    """

    folder: str
    key: str
    documents: int
    repetition: str
    plan: str


class Planner(msgspec.Struct, frozen=True, kw_only=True):
    """A planner: one execution of the ``plan`` task of a task group in a run.

    :param plan: a unique id of the execution.
    :param airflow: identifies the Airflow installation, see :func:`airflow_id`.
    """

    plan: str
    airflow: str
    dag_id: str
    run_id: str
    group_id: str = ""

    @property
    def name(self) -> str:
        """The run, for a person."""
        return f"run {self.run_id} of DAG {self.dag_id}"

    def is_of_same_run(self, other: Planner) -> bool:
        """Return True if both plan for the same task group in the same run."""
        return (self.airflow, self.dag_id, self.run_id, self.group_id) == (
            other.airflow,
            other.dag_id,
            other.run_id,
            other.group_id,
        )


class Reservation(Stored, frozen=True, kw_only=True):
    """A chunk as the claims of its documents name it.

    :param planner: None in a reservation of an older release, which has ``folder`` instead: the folder of
        the run that planned it.
    """

    key: str
    documents: int
    repetition: str = ""
    planner: Planner | None = None
    folder: str | None = None

    def to_text(self) -> str:
        """Return the reservation as the column ``chunk`` of the table of claims has it."""
        return encode(self).decode()

    @classmethod
    def of(cls, claim: Claim) -> Reservation:
        """Read a reservation back, also one of an older release.

        :raises PipelineInputError: if it is damaged, or of a newer format.
        """
        found = decode(cls, claim.chunk, "A reservation (table 'claims', column 'chunk')")
        planner = found.planner or _planner_of(found.folder or "")
        return msgspec.structs.replace(found, repetition=claim.repetition, planner=planner)


def _planner_of(folder: str) -> Planner:
    """Return the planner from a run's folder: ``…/runs/<dag>/<run>/<group>/<discovery>``."""
    *_, dag_id, run_id, group_id, _ = ["", "", "", *folder.split("/")]
    return Planner(plan="", airflow=airflow_id(), dag_id=dag_id, run_id=run_id, group_id=group_id)


def airflow_id() -> str:
    """Return an id of this Airflow, which differs from that of another one that shares the dataset.

    The Fernet key is random and the same for all workers; a part of the hash reveals nothing about it.
    """
    parts = (conf.get("core", "fernet_key", fallback=""), conf.get("api", "base_url", fallback=""))
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]


def is_active(planner: Planner, reserved_at: dt.datetime) -> bool:
    """Return True if the planner's run may still send what it has planned; asks Airflow, within a task."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    if planner.airflow != airflow_id():
        return dt.datetime.now(dt.UTC) < reserved_at + LEASE
    return RuntimeTaskInstance.get_dr_count(planner.dag_id, run_ids=[planner.run_id], states=[*ACTIVE]) > 0


class Hold(Enum):
    """What a reservation means for a plan, the strongest first."""

    BEGUN = auto()
    ELSEWHERE = auto()
    FREE = auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A reserved chunk, and what that means for the plan that is being made.

    :param claimed: how many documents of the chunk have not landed.
    """

    chunk: str
    reservation: Reservation
    hold: Hold
    standing: Standing
    claimed: int

    @property
    def planner(self) -> Planner:
        """The planner of the chunk."""
        return self.reservation.planner or _planner_of("")


def hold_of(
    reservation: Reservation, standing: Standing, ours: Planner, *, active: Callable[[], bool]
) -> Hold:
    """Decide what a reservation means for the plan that is being made.

    A chunk that an earlier execution of the same ``plan`` task reserved and nobody has begun to send is
    planned anew. A voided chunk is free, whatever the claims still say.

    :param active: returns whether the planner's run is active; called only if that decides.
    """
    if standing.begun:
        return Hold.BEGUN
    planner = reservation.planner
    if planner is None or planner.is_of_same_run(ours):
        return Hold.FREE
    if standing.void is not None and standing.void.plan != planner.plan:
        return Hold.FREE
    return Hold.ELSEWHERE if active() else Hold.FREE


class Reservations:
    """The reservations of a workflow version at one moment, by the text in the claims."""

    def __init__(
        self,
        settings: Settings,
        ours: Planner,
        claims: Iterable[Claim],
        is_active: Callable[[Planner, dt.datetime], bool] = is_active,
    ) -> None:
        self._settings = settings
        self._ours = ours
        self._active: dict[tuple[str, str, str], bool] = {}
        self._ask = is_active
        claims = list(claims)
        with ThreadPoolExecutor(PARALLEL) as pool:
            standings = pool.map(lambda claim: ledger_of(settings, _key(claim)).standing(), claims)
            self.held = {
                claim.chunk: self._held(claim, standing)
                for claim, standing in zip(claims, standings, strict=True)
            }

    def strongest(self, chunks: Sequence[str]) -> Held | None:
        """Return which of a document's chunks decides about it; None if the document is free."""
        held = [self.held[chunk] for chunk in chunks if chunk in self.held]
        return min(held, key=lambda each: each.hold.value, default=None)

    @property
    def begun_by_us(self) -> tuple[int, int]:
        """How many chunks, and documents of them, this run had begun to send when it planned before."""
        own = [
            each
            for each in self.held.values()
            if each.hold is Hold.BEGUN and each.planner.is_of_same_run(self._ours)
        ]
        return len(own), sum(each.claimed for each in own)

    def void(self, chunks: Iterable[str]) -> bool:
        """Void chunks that are free; return False if a task has begun to send one of them meanwhile."""

        def void(chunk: str) -> bool:
            ledger = ledger_of(self._settings, self.held[chunk].reservation.key)
            return _void(ledger, self._ours.plan, self._ours.name)

        with ThreadPoolExecutor(PARALLEL) as pool:
            return all(list(pool.map(void, chunks)))

    def _held(self, claim: Claim, standing: Standing) -> Held:
        reservation = Reservation.of(claim)
        planner = reservation.planner

        def active() -> bool:
            if planner is None:
                return False
            run = (planner.airflow, planner.dag_id, planner.run_id)
            if run not in self._active:
                self._active[run] = self._ask(planner, claim.claimed_at)
            return self._active[run]

        hold = hold_of(reservation, standing, self._ours, active=active)
        return Held(claim.chunk, reservation, hold, standing, claim.documents)


def take_over(settings: Settings, keys: Iterable[str], ours: Planner) -> None:
    """Give voided chunks among these to the plan of ``ours``, whose tasks may send them again."""

    def take(key: str) -> None:
        ledger = ledger_of(settings, key)
        if ledger.standing().void is not None:
            _void(ledger, ours.plan, ours.name)

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(take, keys))


def release(ledger: WorkspaceLedger, by: str) -> bool:
    """Void a chunk by hand; return False if a task has begun to send it: then it stays reserved.

    A task that is about to send it finds it voided and sends nothing, also in an active run.
    """
    return _void(ledger, RELEASED, by)


def _void(ledger: WorkspaceLedger, plan: str, by: str) -> bool:
    while not (standing := ledger.standing()).begun:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        if (standing.void and standing.void.plan == plan) or ledger.void(standing, Void(0, plan, by, now)):
            return True
    return False


def _key(claim: Claim) -> str:
    return Reservation.of(claim).key


def ledger_of(settings: Settings, key: str, plan: str = "") -> WorkspaceLedger:
    """Return the ledger of the first batch of a chunk."""
    return WorkspaceLedger(chunk_folder(settings, key), plan)


def chunk_folder(settings: Settings, key: str) -> ObjectStoragePath:
    """Return the folder of a chunk: its documents, its ledger and its rounds."""
    return batch_folder(
        settings.workspace, workflow_id=settings.workflow_id, version=settings.version, key=key
    )


def chunk_path(settings: Settings, key: str) -> ObjectStoragePath:
    """Return the file with a chunk's documents as they were discovered; it never changes."""
    return chunk_folder(settings, key) / "chunk.jsonl"


def chunk_documents(settings: Settings, reference: ChunkReference) -> Iterator[Document]:
    """Yield a chunk's documents as they were discovered.

    An older release kept them in the folder of the run that planned them; if that has expired, the documents
    of a submission are the chunk's.

    :raises FileNotFoundError: if they are in neither place; errors of an unreadable workspace pass through.
    """
    for path in _places_of_documents(settings, reference):
        try:
            for document in read_documents(path):
                yield dataclasses.replace(document, status=None, reason=None, message=None)
        except FileNotFoundError:
            continue
        return
    raise FileNotFoundError(
        f"{chunk_path(settings, reference['key'])} is gone from the workspace, so its documents cannot be "
        "sent. Nothing was sent from here. Restore the folder and clear this task. Only if it cannot be "
        "restored, clear 'plan': without any record these documents are planned, sent and paid again."
    )


def _places_of_documents(settings: Settings, reference: ChunkReference) -> Iterator[ObjectStoragePath]:
    key = reference["key"]
    yield chunk_path(settings, key)
    yield ObjectStoragePath(reference["folder"]) / "chunks" / f"{key}.jsonl"
    yield from sorted(chunk_folder(settings, key).glob("documents-*.jsonl"), key=str)


def adopt(settings: Settings, reservation: Reservation) -> None:
    """Copy the documents of a chunk that an older release has planned to where this release expects them."""
    if reservation.folder is not None and not chunk_path(settings, reservation.key).exists():
        old = ObjectStoragePath(reservation.folder) / "chunks" / f"{reservation.key}.jsonl"
        if old.exists():
            copy_whole(old, chunk_path(settings, reservation.key))
