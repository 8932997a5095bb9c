"""Replay: rebuild the tables from the raw zone alone, without a request to Extend.

Parts land in the order of their first landing, because a later part depends on earlier ones: on names in the
dictionary, on decisions, on thresholds. The load ledger of the destination records what has landed, so an
interrupted replay continues there; the raw zone records it, too, so that a later loss in the destination is
detected. A part that the schema contract refuses stops no other: its documents land, so that nobody pays for
them again, and its values are withheld.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_pipeline.exceptions import PipelineInputError, PipelineOutcomeError
from extend_pipeline.settings import ConnId, Dataset, RenderedSettings, Workspace
from extend_pipeline.settings.machines import Disk
from extend_pipeline.storage import raw_index
from extend_pipeline.storage.kept_parts import DAMAGE
from extend_pipeline.storage.raw_index import Entry, Place, part_name
from extend_pipeline.storage.workspace import write_json
from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.records import WarehouseError


class ReplaySettings(RenderedSettings):
    """The settings of a replay; see ``replay_to_warehouse``."""

    workspace: Workspace
    disk: Disk = "by_executor"
    dataset: Dataset = "extend"
    warehouse_conn_id: ConnId = "warehouse_default"
    into_dataset: Dataset | None = None
    into_warehouse_conn_id: ConnId | None = None
    again: bool = False
    schema_contract: Literal["evolve", "freeze", "discard"] | None = None

    @property
    def origin(self) -> Place:
        """The dataset in which the parts have landed."""
        return Place(self.warehouse_conn_id, self.dataset)

    @property
    def destination(self) -> Place:
        """The dataset that is rebuilt."""
        return Place(self.into_warehouse_conn_id or self.warehouse_conn_id, self.into_dataset or self.dataset)


@dataclasses.dataclass(slots=True)
class Replayed:
    """What a replay has done.

    :ivar documents: rows of ``documents`` that were written; a document of two parts counts twice.
    :ivar refused: parts that the contract ``freeze`` has refused: their values are in no table of an
        extractor, and ``problems`` has a row for each.
    :ivar rows: rows written, by table.
    """

    parts: int = 0
    documents: int = 0
    runs: int = 0
    refused: int = 0
    rows: Counter[str] = dataclasses.field(default_factory=Counter)


def begin(settings: ReplaySettings) -> None:
    """Mark the tables of the destination as incomplete; until :func:`end`, nothing is planned there."""
    write_json(_mark(settings.workspace, *settings.destination), {"of": settings.dataset})


def end(settings: ReplaySettings) -> None:
    """Remove the mark of :func:`begin`."""
    _mark(settings.workspace, *settings.destination).unlink(missing_ok=True)


def check_whole(warehouse: Warehouse, *, workspace: str, warehouse_conn_id: str, dataset: str) -> None:
    """Check, before anything is planned, that the tables have what has landed.

    Documents that the tables have lost would be sent, and paid for, once more.

    :param warehouse: the open warehouse.
    :raises WarehouseError: if a replay has not finished, or parts that have landed are missing.
    """
    place = f"Dataset {dataset!r} of connection {warehouse_conn_id!r}"
    remedy = "Nothing was planned or sent, because documents that landed before would be paid for again."
    if _mark(workspace, warehouse_conn_id, dataset).exists():
        raise WarehouseError(
            f"{place} is being rebuilt from the raw zone, or a replay of it was interrupted. {remedy} Clear "
            "the failed task of extend_replay, or run 'python -m extend_pipeline replay' again: it "
            "continues where it stopped."
        )
    lost = raw_index.lost_parts(workspace, Place(warehouse_conn_id, dataset), warehouse.landed_parts())
    if lost:
        raise WarehouseError(
            f"{place} does not have {lost:,} parts that have landed there by the raw zone's index: it was "
            f"dropped, restored from an older copy, or the connection has another target now. {remedy} "
            "Trigger extend_replay, or run 'python -m extend_pipeline replay': it lands what is missing. To "
            "start over on purpose, use another dataset."
        )


def _mark(workspace: str, warehouse_conn_id: str, dataset: str) -> ObjectStoragePath:
    return ObjectStoragePath(workspace) / "replays" / f"{warehouse_conn_id}.{dataset}.json"


def parts_of(settings: ReplaySettings) -> list[Entry]:
    """Return the parts that have landed in the origin, or were to, in the order of their first landing.

    :raises PipelineInputError: if there are none.
    """
    entries = raw_index.read_index(settings.workspace)
    found = [entry for entry in entries if settings.origin in entry.places]
    if not found:
        others = sorted({str(place) for entry in entries for place in entry.places})
        raise PipelineInputError(
            f"The raw zone in {settings.workspace} has no part that landed in dataset {settings.dataset!r} "
            f"of connection {settings.warehouse_conn_id!r}. It has parts of: {', '.join(others) or 'none'}."
        )
    return found


def whole_parts(warehouse: Warehouse) -> set[str]:
    """Return the parts that the load ledger of the destination has, without those that were refused."""
    return set(warehouse.landed_parts()) - set(warehouse.refused_parts())


def not_landed(entries: Sequence[Entry], landed: Collection[str]) -> list[Entry]:
    """Return the parts that are left to land: the first one that has not landed, and all after it.

    Parts after it may have landed already, because a pipeline went on meanwhile. They land again, so that
    each part lands after those that it depends on. An entry that only records deleted runs is in no ledger;
    it is handled with the part before it.

    :param landed: see :func:`whole_parts`.
    """
    names = {part_name(part) for part in landed}
    known = 0
    for number, entry in enumerate(entries, start=1):
        if entry.deleted is None:
            if part_name(entry.provenance.part) not in names:
                break
            known = number
    return list(entries[known:])


def forget(warehouse: Warehouse, entries: Sequence[Entry]) -> None:
    """Remove parts from the load ledger of the destination, so that they land again."""
    warehouse.forget_parts(entry.provenance.part for entry in entries)


def replay(
    warehouse: Warehouse,
    entries: Sequence[Entry],
    settings: ReplaySettings,
    done: Callable[[Entry, bool], object] = lambda entry, refused: None,
) -> Replayed:
    """Land parts again, one after the other, each whole or not at all.

    :param warehouse: the destination, open.
    :param done: called after each part, with whether the contract has refused it.
    :raises PipelineOutcomeError: if a part is damaged; those before it have landed.
    """
    total = Replayed()
    for entry in entries:
        try:
            refused = _land(warehouse, entry, settings, total)
        except (FileNotFoundError, *DAMAGE) as error:
            raise PipelineOutcomeError(
                f"Part {entry.part.uri} of the raw zone is damaged or gone ({type(error).__name__}). The "
                "parts before it have landed, nothing of this one. Restore its files and replay again: it "
                "continues from there. If they are lost, clear the collect task of their chunk: it requests "
                "them from Extend again."
            ) from None
        total.parts += 1
        done(entry, refused)
    return total


def _land(warehouse: Warehouse, entry: Entry, settings: ReplaySettings, total: Replayed) -> bool:
    """Land a part and add it to the total; return whether the contract has refused it."""
    if entry.deleted is not None:
        noted = raw_index.note_deleted(warehouse, entry, into=settings.destination)
        total.rows.update(documents=noted)
        return False
    contract = settings.schema_contract or entry.policy.schema_contract
    asked = dataclasses.replace(entry.policy, schema_contract=contract)
    changed = msgspec.structs.replace(entry, policy=asked)
    landing = raw_index.land(warehouse, changed, into=settings.destination, withhold=True)
    if changed != entry and settings.destination == entry.place and not landing.refused:
        raw_index.rewrite(changed)  # so that a later replay comes to the same tables
    total.documents += entry.part.documents
    total.runs += entry.part.runs
    total.refused += landing.refused
    total.rows.update(landing.rows)
    return landing.refused
