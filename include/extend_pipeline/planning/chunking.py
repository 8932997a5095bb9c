"""Chunking: which of the discovered documents are sent, and in which chunks; all others are counted.

Nothing is reserved, voided, landed or sent before the whole plan is known and within the run's bounds.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from random import SystemRandom
from typing import Final

from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.ledger import batch_key
from extend_pipeline.batches.reservations import (
    ChunkReference,
    Held,
    Hold,
    Planner,
    Reservation,
    Reservations,
    adopt,
    chunk_path,
    is_active,
    take_over,
)
from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.estimate import Estimate, file_type
from extend_pipeline.planning.plan import Plan
from extend_pipeline.planning.repetitions import Repetition
from extend_pipeline.settings import Settings
from extend_pipeline.storage.workspace import copy_whole, read_documents, write_documents, written_whole
from extend_pipeline.temporary import temporary_folder
from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.records import UnlandedDocument, WarehouseBusyError

#: How often a plan is tried while other runs plan, or begin to send, the same documents.
MOST_TRIES: Final = 6
_RANDOM: Final = SystemRandom()


def unsent_path(folder: ObjectStoragePath) -> ObjectStoragePath:
    """Return the file of the documents that cannot be sent, each with its reason."""
    return folder / "unsent.jsonl"


@dataclasses.dataclass(kw_only=True)
class Planning:
    """One execution of a run's ``plan`` task.

    :param warehouse: an open warehouse. If it has locks, no other run plans in it until it is closed.
    :param found: returns the discovered documents in their order, from the start at each call.
    :param folder: the folder of the run.
    :param planner: who plans.
    :param max_chunks: the most chunks that Airflow maps; None for any number.
    :param check: called with the documents to send before the plan is carried out; an error stops the plan.
    :param is_active: returns whether the run of another planner is active.
    """

    warehouse: Warehouse
    settings: Settings
    found: Callable[[], Iterable[Document]]
    folder: ObjectStoragePath
    planner: Planner
    max_chunks: int | None = None
    check: Callable[[Iterable[Document]], object] = lambda _: None
    is_active: Callable[[Planner, dt.datetime], bool] = is_active
    sleep: Callable[[float], None] = time.sleep

    def plan(self) -> Plan:
        """Plan, check the bounds of the run, and reserve what is new. A dry run reserves nothing.

        :raises PipelineInputError: if the plan is beyond what the settings allow; the message has the plan.
            Nothing is reserved then.
        :raises WarehouseBusyError: if others keep planning the same documents at the same moment.
        """
        repetition = Repetition.of(self.settings, self.planner)
        for number in range(MOST_TRIES):
            self.sleep(_RANDOM.uniform(0.0, number))
            with temporary_folder() as folder:
                drafts = ObjectStoragePath(f"file://{folder}")
                plan, reservations = self._draft(repetition, drafts)
                if repetition.is_complete(plan) and not repetition.has_left:
                    repetition = repetition.following(self.planner)
                    plan, reservations = self._draft(repetition, drafts)
                if plan.dry_run or self._reserve(plan, reservations, repetition, drafts):
                    return plan
        raise WarehouseBusyError(
            f"Other runs planned, or began to send, the same documents at the same moment, {MOST_TRIES} "
            "times in a row. Nothing was reserved or sent."
        )

    def _draft(self, repetition: Repetition, drafts: ObjectStoragePath) -> tuple[Plan, Reservations]:
        settings = self._settings_for(repetition)
        discovered = 0

        def counted() -> Iterator[Document]:
            nonlocal discovered
            for document in self.found():
                discovered += 1
                yield document

        self.warehouse.begin_planning()
        claims = self.warehouse.claims(workflow_id=settings.workflow_id, version=settings.version)
        reservations = Reservations(settings, self.planner, claims, self.is_active)
        plan = write_plan(
            self.warehouse.unlanded(counted(), **settings.asked_for, claims_of=repetition.claims_of),
            self.folder,
            drafts,
            reservations,
            settings,
            self.planner,
            max_chunks=self.max_chunks,
        )
        plan.already_landed, plan.discovered = discovered - plan.discovered, discovered
        plan.dry_run, plan.repetition = settings.dry_run, repetition.name
        plan.nothing_left = repetition.is_complete(plan)
        self._estimate(plan)
        plan.refused = plan.refusal(max_documents=settings.max_documents, max_credits=settings.max_credits)
        return plan, reservations

    def _settings_for(self, repetition: Repetition) -> Settings:
        return self.settings.model_copy(update={"repetition": repetition.name})

    def _estimate(self, plan: Plan) -> None:
        """Add the estimated cost to the plan."""
        settings = self.settings
        charges = self.warehouse.charges(workflow_id=settings.workflow_id, version=settings.version)
        plan.estimate = Estimate.of(plan.types_to_send, charges)
        plan.estimate_left = Estimate.of(plan.types_left, charges)

    def _reserve(
        self, plan: Plan, reservations: Reservations, repetition: Repetition, drafts: ObjectStoragePath
    ) -> bool:
        """Carry the plan out; return False if another run reserved, or began to send, a document of it first.

        The order of the steps makes a crash between any two of them harmless: a voided chunk is free whatever
        the claims say, and a claimed chunk has its documents written down.
        """
        if plan.refused:
            raise PipelineInputError(f"The plan is refused; nothing was sent to Extend. {plan.describe()}")
        settings, new = self._settings_for(repetition), plan.chunks[: plan.new_chunks]
        self.check(_drafted(new, drafts))
        if not reservations.void(plan.freed):
            return False
        for chunk in new:
            copy_whole(drafts / f"{chunk['key']}.jsonl", chunk_path(settings, chunk["key"]))
        for held in reservations.held.values():
            if held.hold is Hold.BEGUN:
                adopt(settings, held.reservation)
        claims = _claims(plan, drafts, self.planner)
        if not self.warehouse.claim(
            claims, **settings.asked_for, freed=plan.freed, claims_of=repetition.claims_of
        ):
            return False
        # Another plan may have had a chunk of exactly these documents before.
        take_over(settings, [chunk["key"] for chunk in new], self.planner)
        repetition.keep(plan)
        return True


def _drafted(chunks: Iterable[ChunkReference], drafts: ObjectStoragePath) -> Iterator[Document]:
    for chunk in chunks:
        yield from read_documents(drafts / f"{chunk['key']}.jsonl")


def _claims(plan: Plan, drafts: ObjectStoragePath, planner: Planner) -> Iterator[tuple[Document, str]]:
    """Yield the documents of the plan's new chunks, each with its reservation as text."""
    for chunk in plan.chunks[: plan.new_chunks]:
        reservation = Reservation(
            key=chunk["key"],
            documents=chunk["documents"],
            repetition=chunk["repetition"],
            planner=planner,
        ).to_text()
        for document in read_documents(drafts / f"{chunk['key']}.jsonl"):
            yield document, reservation


def write_plan(
    unlanded: Iterable[UnlandedDocument],
    folder: ObjectStoragePath,
    drafts: ObjectStoragePath,
    reservations: Reservations,
    settings: Settings,
    planner: Planner,
    *,
    max_chunks: int | None = None,
) -> Plan:
    """Write the documents of the new chunks, and the unsent documents; return the plan.

    :param unlanded: documents that have not landed, in the order of discovery, each with the chunks that hold
        it already.
    :param drafts: the folder for the documents of the new chunks; they are copied when they are reserved.
    :param max_chunks: the most chunks that Airflow maps; documents beyond them are left for a later run. New
        chunks come first, then those that this run has begun to send before, then those of others.
    """
    plan = Plan(most_chunks=max_chunks)
    joined = _Joined(planner)
    freed: dict[str, None] = {}
    own_chunks, own_documents = reservations.begun_by_us
    limit = None if settings.limit is None else max(settings.limit - own_documents, 0)
    room = None if max_chunks is None else max(max_chunks - own_chunks, 0) * settings.chunk_size
    with written_whole(unsent_path(folder)) as unsent:

        def sendable() -> Iterator[Document]:
            for document, chunks in unlanded:
                plan.discovered += 1
                held = reservations.strongest(chunks)
                if document.status is not None:
                    plan.unsent[document.reason or document.status] += 1
                    unsent.write(document.to_json() + b"\n")
                elif held is not None and held.hold is Hold.BEGUN:
                    joined.add(held)
                elif held is not None and held.hold is Hold.ELSEWHERE:
                    plan.theirs[held.planner.name] += 1
                elif limit is not None and plan.to_send >= limit:
                    plan.beyond_limit += 1
                    plan.types_left[file_type(document.name)] += 1
                elif room is not None and plan.to_send >= room:
                    plan.beyond_map += 1
                    plan.types_left[file_type(document.name)] += 1
                else:
                    freed.update(dict.fromkeys(chunks))
                    count_to_send(document)
                    yield document

        def count_to_send(document: Document) -> None:
            plan.to_send += 1
            plan.bytes_to_send += document.size_bytes
            plan.types_to_send[file_type(document.name)] += 1

        for documents in _batched(sendable(), settings.chunk_size):
            key = batch_key(documents, **settings.asked_for)
            write_documents(drafts / f"{key}.jsonl", documents)
            plan.chunks.append(
                ChunkReference(
                    folder=str(folder),
                    key=key,
                    documents=len(documents),
                    repetition=settings.repetition,
                    plan=planner.plan,
                )
            )
    plan.new_chunks, plan.freed = len(plan.chunks), list(freed)
    left = None if max_chunks is None else max(max_chunks - plan.new_chunks, 0)
    chunks, plan.held, not_joined = joined.within(left, str(folder))
    plan.chunks.extend(chunks)
    plan.beyond_map += not_joined
    return plan


class _Joined:
    """Chunks whose sending has begun, each with the number of the plan's documents in it."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._documents = Counter[str]()
        self._held: dict[str, Held] = {}

    def add(self, held: Held) -> None:
        """Count a document of the chunk."""
        self._held[held.chunk] = held
        self._documents[held.chunk] += 1

    def within(self, room: int | None, folder: str) -> tuple[list[ChunkReference], int, int]:
        """Return the chunks for which there is room, and how many documents are in them and in the others."""
        chunks = sorted(self._held, key=lambda chunk: not self._is_own(chunk))
        taken, counts = chunks[:room], [self._documents[chunk] for chunk in chunks]
        references = [self._reference(self._held[chunk].reservation, folder) for chunk in taken]
        return references, sum(counts[: len(taken)]), sum(counts[len(taken) :])

    def _is_own(self, chunk: str) -> bool:
        return self._held[chunk].planner.is_of_same_run(self._planner)

    def _reference(self, reservation: Reservation, folder: str) -> ChunkReference:
        return ChunkReference(
            folder=folder,
            key=reservation.key,
            documents=reservation.documents,
            repetition=reservation.repetition,
            plan=self._planner.plan,
        )


def _batched(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    iterator = iter(documents)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
