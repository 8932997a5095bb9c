"""The index of the raw zone: everything needed to land a part again, and where each part has landed.

Invariant: a part has an entry before it lands, lands from the entry, and is marked afterwards. A part about
runs that were deleted at Extend is marked ``noted``, because no load ledger contains it. The marks are empty
files whose names say where a part has landed: one listing returns 1,000 of them, and no file is opened.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from airflow.sdk import ObjectStoragePath, get_current_context

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.formats import Stored, from_plain, read_plain, to_plain, unreadable
from extend_pipeline.storage.raw_zone import RUNS, RawPart, beside
from extend_pipeline.storage.workspace import write_json
from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.records import AS_BEFORE, Landing, LandingPolicy, Provenance

_ENTRY: Final = ".json"
_LANDED: Final = "landed"
_NOTED: Final = "noted"
#: The name of a mark; a connection's id is quoted like a part of a URL, a dataset has no dot.
_MARK: Final = re.compile(
    rf"(?P<part>.*)\.(?P<kind>{_LANDED}|{_NOTED})\.(?P<dataset>[A-Za-z0-9_]+)\.(?P<conn_id>[^/]+)", re.DOTALL
)
#: Entries are many and small; requests to an object store have latency.
_READERS: Final = 16


def task_provenance(**origin: Any) -> Provenance:
    """Return the provenance of a part that the running task lands; ``origin`` says the rest."""
    ti = get_current_context()["ti"]
    return Provenance(
        **origin,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
    )


class Place(NamedTuple):
    """A dataset, and the connection of the warehouse that it is in."""

    warehouse_conn_id: str
    dataset: str

    def __str__(self) -> str:
        return f"{self.dataset} ({self.warehouse_conn_id})"


class Entry(Stored, frozen=True, kw_only=True):
    """A part's entry in the index: everything needed to land it, in any place.

    :ivar dataset: with ``warehouse_conn_id``, the place that it was made for.
    :ivar provenance: with the time of its last landing there.
    :ivar first_landed_at: the time of its first landing; a replay lands parts in this order.
    :ivar deleted: for a part about runs that were deleted at Extend: the message for their rows.
    :ivar marked: whether its landings are marked. An older release wrote no marks: there, an entry is one.
    :ivar landed: where it has landed, by its marks; not stored in the entry.
    """

    part: RawPart
    dataset: str
    warehouse_conn_id: str
    provenance: Provenance
    policy: LandingPolicy = AS_BEFORE
    first_landed_at: str = ""
    deleted: str | None = None
    marked: bool = False
    landed: frozenset[Place] = frozenset()

    @property
    def place(self) -> Place:
        """The place that it was made for."""
        return Place(self.warehouse_conn_id, self.dataset)

    @property
    def places(self) -> frozenset[Place]:
        """The places where it has landed or was meant to land."""
        return self.landed | {self.place}


def enter(entry: Entry) -> Entry:
    """Write a part's entry into the index before the part lands; return it with the time of the landing.

    Call it when no other part can land before, so that entries are in the order in which parts land.
    """
    now = dt.datetime.now(dt.UTC)
    before = _read_entry(entry.part.uri)
    if before is not None and not before.marked:
        mark(before)
    entry = msgspec.structs.replace(
        entry,
        provenance=dataclasses.replace(entry.provenance, raw_uri=entry.part.uri, landed_at=now),
        first_landed_at=before.first_landed_at if before else now.isoformat(),
        others=before.others if before else {},
        marked=True,
    )
    rewrite(entry)
    return entry


def rewrite(entry: Entry) -> None:
    """Write a part's entry as it is, without its own address: the workspace may have another one later."""
    plain = to_plain(entry)
    del plain["landed"], plain["part"]["uri"]
    plain["landed_at"] = plain["provenance"].pop("landed_at")
    plain["provenance"].update(landed_at=None, raw_uri=None)
    write_json(beside(entry.part.uri, _ENTRY), plain)


def land(
    warehouse: Warehouse,
    entry: Entry,
    *,
    is_new: bool = False,
    into: Place | None = None,
    withhold: bool = False,
) -> Landing:
    """Land a part that is in the index, and mark that it has.

    :param is_new: it is not in the index, or is to have a new entry: see :func:`enter`.
    :param into: the place of this warehouse; None: the place that the entry was made for.
    :param withhold: see :meth:`~extend_pipeline.warehouse.api.Warehouse.land`.
    """

    def begin() -> Provenance:
        nonlocal entry
        if is_new:
            entry = enter(entry)
        return entry.provenance

    landing = warehouse.land(
        entry.part.read_documents(),
        entry.part.read_lines(),
        provenance=dataclasses.replace(entry.provenance, raw_uri=entry.part.uri),
        policy=entry.policy,
        withhold=withhold,
        begin=begin,
    )
    mark(entry, into)
    return landing


def note_deleted(warehouse: Warehouse, entry: Entry, *, into: Place | None = None) -> int:
    """Mark the rows of a part's documents: their runs were deleted at Extend."""
    run_ids = (json.loads(line)["run_id"] for line in entry.part.read_lines())
    noted = warehouse.note_deleted_runs(run_ids, entry.deleted or "")
    mark(entry, into)
    return noted


def mark(entry: Entry, into: Place | None = None) -> None:
    """Mark that a part has landed; for an entry without marks, also mark the place that it was made for."""
    kind = _LANDED if entry.deleted is None else _NOTED
    for place in {into or entry.place} if entry.marked else {into or entry.place, entry.place}:
        _write_mark(entry.part.uri, kind, place)


def _write_mark(uri: str, kind: str, place: Place) -> None:
    ending = f".{kind}.{place.dataset}.{quote(place.warehouse_conn_id, safe='')}"
    write_json(beside(uri, ending), {"format": 1})


def read_index(workspace: str) -> list[Entry]:
    """Return the entries of the raw zone in the order in which their parts first landed.

    :raises PipelineInputError: if an entry cannot be read.
    """

    def read(part: _Listed) -> Entry | None:
        return _read_entry(part.uri, part.landed | part.noted)

    with ThreadPoolExecutor(_READERS) as readers:
        entries = [entry for entry in readers.map(read, _listed(workspace).values()) if entry is not None]
    return sorted(entries, key=lambda entry: (entry.first_landed_at, entry.part.uri))


def lost_parts(workspace: str, place: Place, ledger: Iterable[str]) -> int:
    """Return how many parts have landed in a place by their marks but are missing from its load ledger.

    Names are compared; only entries without any mark are opened: parts that are landing or failed to land,
    and parts that an older release has landed. Missing marks are written: the task was killed after its part
    had landed, or an older release landed it.

    :param ledger: the parts in the place's load ledger; read after the listing, so that a part that lands
        meanwhile counts as landed.
    :raises PipelineInputError: if an entry cannot be read.
    """
    listed = _listed(workspace)
    known = {part_name(part) for part in ledger}

    def is_lost(part: _Listed) -> bool:
        is_known = part_name(part.uri) in known
        if place in part.landed:
            return not is_known
        if part.landed or part.noted:
            if is_known:
                _write_mark(part.uri, _LANDED, place)
            return False
        entry = _read_entry(part.uri)
        if entry is None:
            return False
        if is_known:
            mark(entry, place)
        elif not entry.marked:
            mark(entry)
            return entry.place == place and entry.deleted is None
        return False

    with ThreadPoolExecutor(_READERS) as readers:
        return sum(readers.map(is_lost, listed.values()))


def part_name(part: str) -> str:
    """Return the name of a part in the raw zone, which is independent of the workspace's address."""
    return part.rpartition("/raw/")[2].removesuffix(RUNS)


@dataclasses.dataclass(frozen=True, slots=True)
class _Listed:
    """A part in the index, by the names of its files."""

    uri: str
    landed: frozenset[Place]
    noted: frozenset[Place]


def _listed(workspace: str) -> dict[str, _Listed]:
    """List the parts that have an entry, with one request per 1,000 files."""
    home = ObjectStoragePath(workspace) / "raw"
    entries: list[str] = []
    marks: dict[str, dict[str, set[Place]]] = {}
    for file in home.fs.find(home.path):
        found = _MARK.fullmatch(file)
        if found is not None:
            place = Place(unquote(found["conn_id"]), found["dataset"])
            marks.setdefault(found["part"], {}).setdefault(found["kind"], set()).add(place)
        elif file.endswith(_ENTRY):
            entries.append(file.removesuffix(_ENTRY))
    root = home.fs._strip_protocol(home.path)
    return {
        part: _Listed(
            f"{home}{part.removeprefix(root)}{RUNS}",
            frozenset(marks.get(part, {}).get(_LANDED, ())),
            frozenset(marks.get(part, {}).get(_NOTED, ())),
        )
        for part in entries
    }


def _read_entry(uri: str, landed: frozenset[Place] = frozenset()) -> Entry | None:
    """Return the entry of the part whose runs are in this file; None if there is none.

    :raises PipelineInputError: if it cannot be read.
    """
    path = beside(uri, _ENTRY)
    if (plain := read_plain(path)) is None:
        return None
    try:
        provenance = {**plain["provenance"], "raw_uri": uri, "landed_at": plain.pop("landed_at")}
        plain |= {"part": {**plain["part"], "uri": uri}, "provenance": provenance}
    except (KeyError, TypeError, AttributeError) as error:
        raise PipelineInputError(unreadable(str(path), error)) from None
    return msgspec.structs.replace(from_plain(Entry, plain, str(path)), landed=landed)
