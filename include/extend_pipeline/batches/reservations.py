"""Reservations: which chunk holds a document that is planned and has not landed, and whose that chunk is.

Invariants: what is reserved is documents × workflow × version × repetition, named by content and stored under
the workspace; how they are sent is said by the run that works now. A chunk that nobody has begun to send
belongs to its planner while that run is active, and is free afterwards. A chunk that somebody has begun to
send is taken up by everybody who needs it.
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
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Settings
from extend_pipeline.storage.workspace import batch_folder, copy_whole, read_documents
from extend_pipeline.warehouse.records import Claim

#: Of reservations; one without it is of a release that wrote none.
FORMAT: Final = 1
#: How long a chunk is left to a run of another Airflow, which cannot be asked whether it is still active. If
#: it is, and comes to the chunk later, it finds it voided and sends nothing.
LEASE: Final = dt.timedelta(hours=24)
#: States of a run in which it still works, or will.
ACTIVE: Final = ("queued", "running")
#: Ledgers read, or written, at the same time: an object store answers each after a while.
PARALLEL: Final = 16


class ChunkReference(TypedDict):
    """What travels through XCom of a chunk.

    ``folder`` is that of the run that works on it now, which has its settings; the rest is what is reserved:
    the chunk's key, how many documents it has, and the repetition. ``plan`` is the plan that made it.
    """

    folder: str
    key: str
    documents: int
    repetition: str
    plan: str


class Planner(msgspec.Struct, frozen=True, kw_only=True):
    """Who plans: a task group in a run, by one execution of its ``plan`` task.

    :param plan: the execution; each has another one.
    :param airflow: tells one Airflow from another, see :func:`airflow_id`.
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
        """Whether both have planned for the same task group in the same run."""
        return (self.airflow, self.dag_id, self.run_id, self.group_id) == (
            other.airflow,
            other.dag_id,
            other.run_id,
            other.group_id,
        )


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk as the claims of its documents name it.

    :param planner: None in what a release before this one has written, which has ``folder`` instead: that of
        the run that planned it.
    """

    key: str
    documents: int
    repetition: str = ""
    planner: Planner | None = None
    folder: str | None = None
    format: int = FORMAT

    def to_text(self) -> str:
        """Return the reservation as the column ``chunk`` of the table of claims has it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def of(cls, claim: Claim) -> Reservation:
        """Read a reservation back, also one of an older release.

        :raises PipelineInputError: if it is none, or of a newer format.
        """
        try:
            found = msgspec.json.decode(claim.chunk, type=cls)
        except msgspec.MsgspecError as error:
            raise PipelineInputError(
                f"A row of the table 'claims' names no chunk that can be read ({type(error).__name__}). "
                "Nothing was sent. Delete the rows whose column 'chunk' is no reservation."
            ) from None
        if found.format > FORMAT:
            raise PipelineInputError(
                f"The reservation of chunk {found.key} is of format {found.format}, and this release reads "
                f"formats up to {FORMAT}: a newer one has written it. Nothing was sent. Install it here too."
            )
        planner = found.planner or _planner_of(found.folder or "")
        return msgspec.structs.replace(found, repetition=claim.repetition, planner=planner)


def _planner_of(folder: str) -> Planner:
    """Return who has planned, by the place of a run's folder: ``…/runs/<dag>/<run>/<group>/<discovery>``."""
    *_, dag_id, run_id, group_id, _ = ["", "", "", *folder.split("/")]
    return Planner(plan="", airflow=airflow_id(), dag_id=dag_id, run_id=run_id, group_id=group_id)


def airflow_id() -> str:
    """Return what tells this Airflow from another one that shares a dataset with it.

    Its Fernet key is random and the same for all of its workers; nothing can be told from a part of the hash.
    """
    told = (conf.get("core", "fernet_key", fallback=""), conf.get("api", "base_url", fallback=""))
    return hashlib.sha256("\0".join(map(str, told)).encode()).hexdigest()[:12]


def is_active(planner: Planner, reserved_at: dt.datetime) -> bool:
    """Whether the run of a planner may still send what it has planned. Asks Airflow, from within a task."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    if planner.airflow != airflow_id():
        return dt.datetime.now(dt.UTC) < reserved_at + LEASE
    return RuntimeTaskInstance.get_dr_count(planner.dag_id, run_ids=[planner.run_id], states=[*ACTIVE]) > 0


class Hold(Enum):
    """What holds a document of a chunk that is reserved."""

    BEGUN = auto()
    ELSEWHERE = auto()
    FREE = auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A reserved chunk, and what that means for whoever plans now.

    :param claimed: how many documents of the chunk have not landed.
    """

    chunk: str
    reservation: Reservation
    hold: Hold
    standing: Standing
    claimed: int

    @property
    def planner(self) -> Planner:
        """Who has planned the chunk."""
        return self.reservation.planner or _planner_of("")


def hold_of(
    reservation: Reservation, standing: Standing, ours: Planner, *, active: Callable[[], bool]
) -> Hold:
    """Decide what a reservation means for whoever plans now.

    What an earlier execution of the same ``plan`` has reserved and not sent is planned anew, and what was
    voided is free, whatever the claims still say.

    :param active: whether the planner's run is; asked only where that decides.
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
    """The reservations of a workflow version as they stand at one moment, by the text in the claims."""

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
        """Return which of the chunks that hold a document decides what becomes of it; None: it is free."""
        held = [self.held[chunk] for chunk in chunks if chunk in self.held]
        return min(held, key=lambda each: each.hold.value, default=None)

    @property
    def begun_by_us(self) -> tuple[int, int]:
        """How many chunks, and documents of them, this run has begun to send before it plans once more."""
        own = [
            each
            for each in self.held.values()
            if each.hold is Hold.BEGUN and each.planner.is_of_same_run(self._ours)
        ]
        return len(own), sum(each.claimed for each in own)

    def void(self, chunks: Iterable[str]) -> bool:
        """Void chunks that are free; False if somebody has begun to send one of them meanwhile."""

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
    """Let those of the chunks that are voided be sent again, by whoever works for the plan of ``ours``."""

    def take(key: str) -> None:
        ledger = ledger_of(settings, key)
        if ledger.standing().void is not None:
            _void(ledger, ours.plan, ours.name)

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(take, keys))


def release(ledger: WorkspaceLedger, by: str) -> bool:
    """Void a chunk by hand; False if somebody has begun to send it, so that it stays reserved.

    Whoever is about to send it finds it voided and sends nothing, also in a run that is active.
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
    """Return the folder of all that is known of a chunk."""
    return batch_folder(
        settings.workspace, workflow_id=settings.workflow_id, version=settings.version, key=key
    )


def chunk_path(settings: Settings, key: str) -> ObjectStoragePath:
    """Return the file that lists a chunk's documents as they were discovered; it never changes."""
    return chunk_folder(settings, key) / "chunk.jsonl"


def chunk_documents(settings: Settings, reference: ChunkReference) -> Iterator[Document]:
    """Yield a chunk's documents as they were discovered.

    A release before this one kept them in the folder of the run that planned them, which may have expired;
    then those that were about to be sent are the chunk's.

    :raises FileNotFoundError: if they are nowhere; a workspace that cannot be read raises what it raises.
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
        "sent. Nothing was sent from here. Clear 'plan': what nobody has begun to send is planned anew."
    )


def _places_of_documents(settings: Settings, reference: ChunkReference) -> Iterator[ObjectStoragePath]:
    key = reference["key"]
    yield chunk_path(settings, key)
    yield ObjectStoragePath(reference["folder"]) / "chunks" / f"{key}.jsonl"
    yield from sorted(chunk_folder(settings, key).glob("documents-*.jsonl"), key=str)


def adopt(settings: Settings, reservation: Reservation) -> None:
    """Bring the documents of a chunk that a release before this one has planned to their place."""
    if reservation.folder is not None and not chunk_path(settings, reservation.key).exists():
        old = ObjectStoragePath(reservation.folder) / "chunks" / f"{reservation.key}.jsonl"
        if old.exists():
            copy_whole(old, chunk_path(settings, reservation.key))
