"""The index of the raw zone: what it takes to land a part, and where each one has landed.

Invariant: whatever lands has an entry first, and lands from it, and is marked when that is done. A part that
tells of runs which Extend does not have any more is marked ``noted``, as no load ledger has it. What has
landed where is told by names alone: a listing has 1,000 of them, and no file is opened.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from airflow.sdk import ObjectStoragePath, get_current_context

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.storage.formats import Stored, from_plain, to_plain, unreadable
from extend_pipeline.storage.raw_zone import RUNS, RawPart, beside
from extend_pipeline.storage.workspace import read_json, write_json
from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.records import AS_BEFORE, Landing, LandingPolicy, Provenance

_ENTRY: Final = ".json"
_LANDED: Final = "landed"
_NOTED: Final = "noted"
#: The name of a mark; a connection's id is quoted like a part of a URL, a dataset has no dot.
_MARK: Final = re.compile(
    rf"(?P<part>.*)\.(?P<kind>{_LANDED}|{_NOTED})\.(?P<dataset>[A-Za-z0-9_]+)\.(?P<conn_id>[^/]+)", re.DOTALL
)
#: Entries are small and many; an object store answers each after a while.
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
    """A part's entry in the index: what it takes to land it, wherever.

    :ivar dataset: with ``warehouse_conn_id``: for which place it was made.
    :ivar provenance: with the time of its last landing there.
    :ivar first_landed_at: of its first landing; in this order the tables came to be.
    :ivar deleted: of a part that tells of runs that Extend does not have any more: what rows are to say.
    :ivar marked: its landings are marked. The release before marked none: there, an entry counts for one.
    :ivar landed: where it has landed, by its marks; not a part of the file.
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
        """For which place it was made."""
        return Place(self.warehouse_conn_id, self.dataset)

    @property
    def places(self) -> frozenset[Place]:
        """Whose tables it is a part of: where it has landed, or was to land."""
        return self.landed | {self.place}

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain values, without the address: it is that of the files beside it."""
        plain = to_plain(self)
        plain["part"].pop("uri")
        plain.pop("landed")
        landed_at = plain["provenance"]["landed_at"]
        plain["provenance"].update(landed_at=None, raw_uri=None)
        return {**plain, "landed_at": landed_at}

    @classmethod
    def from_json(cls, uri: str, plain: Mapping[str, Any], landed: frozenset[Place] = frozenset()) -> Entry:
        """Read back what :meth:`to_json` gave, in this release or another one.

        :param uri: the file with the part's runs.
        :raises PipelineInputError: if that is not possible.
        """
        where = str(beside(uri, _ENTRY))
        values = dict(plain)
        try:
            provenance = {**values["provenance"], "raw_uri": uri, "landed_at": values.pop("landed_at")}
            values |= {"part": {**values["part"], "uri": uri}, "provenance": provenance}
        except (KeyError, TypeError) as error:
            raise PipelineInputError(unreadable(where, error)) from None
        return msgspec.structs.replace(from_plain(cls, values, where), landed=landed)


def enter(entry: Entry) -> Entry:
    """Write a part's entry into the index, before the part lands; return it with the time of that.

    Call it while the warehouse is open, so that entries are written in the order in which their parts land.
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
    """Write a part's entry as it is."""
    write_json(beside(entry.part.uri, _ENTRY), entry.to_json())


def land(warehouse: Warehouse, entry: Entry, *, into: Place | None = None, withhold: bool = False) -> Landing:
    """Land a part that is in the index, and mark that it has.

    :param into: the place that the warehouse is; None: the one that the entry was made for.
    :param withhold: see :meth:`~extend_pipeline.warehouse.api.Warehouse.land`.
    """
    landing = warehouse.land(
        entry.part.read_documents(),
        entry.part.read_lines(),
        provenance=entry.provenance,
        policy=entry.policy,
        withhold=withhold,
    )
    mark(entry, into)
    return landing


def note_deleted(warehouse: Warehouse, entry: Entry, *, into: Place | None = None) -> int:
    """Say on documents' rows what a part in the index says: Extend does not have their runs any more."""
    run_ids = (json.loads(line)["run_id"] for line in entry.part.read_lines())
    noted = warehouse.note_deleted_runs(run_ids, entry.deleted or "")
    mark(entry, into)
    return noted


def mark(entry: Entry, into: Place | None = None) -> None:
    """Write down that a part has landed; of an entry without marks, also that it has where it was to."""
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
    """Return how many parts have landed in a place by their marks, and are not in its load ledger any more.

    Names are compared, and only entries without any mark opened: of parts that are landing, or failed to, and
    of those that the release before landed. Marks that are missing are written: a task was killed after its
    part had landed, or landed it with a release that wrote none.

    :param ledger: the parts of the place's load ledger; read after the listing, so that what lands meanwhile
        counts as landed.
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
    """Return what names a part in the raw zone, whatever address the workspace has by now."""
    return part.rpartition("/raw/")[2].removesuffix(RUNS)


@dataclasses.dataclass(frozen=True, slots=True)
class _Listed:
    """A part in the index, as the names of its files tell of it."""

    uri: str
    landed: frozenset[Place]
    noted: frozenset[Place]


def _listed(workspace: str) -> dict[str, _Listed]:
    """List the parts that have an entry: one request for 1,000 files."""
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
    """Return the entry of the part whose runs are in this file; None if there is none."""
    path = beside(uri, _ENTRY)
    try:
        plain = read_json(path)
    except ValueError as error:
        raise PipelineInputError(unreadable(str(path), error)) from None
    return None if plain is None else Entry.from_json(uri, plain, landed)
