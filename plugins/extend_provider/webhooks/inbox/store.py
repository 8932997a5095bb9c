"""The inbox: events of runs, kept from their arrival until their batch has landed.

    <inbox>/runs/<batch id, or "single">/<run id>~<STATUS>~<last change>~<event id>.json.gz
    <inbox>/unknown/<event id>.json.gz               events of a type that nobody here knows
    <inbox>/partial/…                                what was not finished on a disk; swept

A name says which run is in which state, so one listing shows how far a batch is. Invariants: an object
appears whole or not at all, is never overwritten, and is removed only by its name. An inbox that is not
complete proves nothing about the runs that are not in it.

Any address of Airflow's object storage works. All of it blocks: async code calls it in threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import gzip
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
from airflow.sdk import ObjectStoragePath

from extend_provider.batch.waiting.progress import IN_FLIGHT_STATUSES, SETTLED_STATUSES
from extend_provider.client.models import RunStatus, WorkflowRun
from extend_provider.client.settings import ExtendSettings
from extend_provider.client.wire import wire_for
from extend_provider.client.wire.reading import UnreadableAnswerError, decoded
from extend_provider.exceptions import ExtendError
from extend_provider.webhooks.inbox import disk
from extend_provider.webhooks.inbox.events import RunEvent, UnknownEvent, is_id

#: The version of the stored format.
FORMAT: Final = 1
#: The folder of runs that belong to no batch.
SINGLE: Final = "single"
_ENDING: Final = ".json.gz"
_NAME: Final = re.compile(
    r"(?P<run>[A-Za-z0-9_-]{1,128})~(?P<status>[A-Z_]{1,24})~(?P<updated>\w{1,22})~[A-Za-z0-9_-]{1,64}\.json\.gz"
)
#: A name has 255 bytes at most; this is what an event's id may take of them.
_LONGEST_EVENT_ID: Final = 64
_UNKNOWN_TIME: Final = "0"


class UnreadableEventError(ExtendError):
    """An object of the inbox is not what was stored; the run itself can still be asked for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Arrived:
    """The latest state of a run that events have told of.

    :param updated_at: when it last changed, in a form that sorts; ``0`` if the event did not say.
    :param names: its objects, the one with the latest state first.
    """

    run_id: str
    status: str
    updated_at: str
    names: tuple[str, ...]

    @property
    def settled(self) -> bool:
        """Whether Extend has finished its own work on the run; it may wait for a reviewer."""
        return self.status in SETTLED_STATUSES


@dataclasses.dataclass(frozen=True, slots=True)
class Delivered:
    """A run as an event brought it.

    :param received: its JSON text, byte for byte.
    """

    event_id: str
    event_type: str
    api_version: str
    received: bytes = dataclasses.field(repr=False)

    @property
    def run(self) -> WorkflowRun:
        """The run with all its results.

        :raises UnreadableEventError: if it is none.
        """
        try:
            run = wire_for(self.api_version).parse_run(_mapping(decoded(self.received)))
        except (UnreadableAnswerError, ValueError, RecursionError) as error:
            raise _unreadable(f"event {self.event_id}", error) from None
        return msgspec.structs.replace(run, received=self.received)


class Inbox:
    """The events of one Extend workspace.

    :param address: an address of Airflow's object storage.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    @classmethod
    def of(cls, settings: ExtendSettings) -> Inbox | None:
        """Return the inbox of a connection, None if webhooks are off there."""
        return cls(settings.webhook_inbox) if settings.webhook_inbox else None

    def __repr__(self) -> str:
        return f"Inbox({self.address!r})"

    @property
    def _home(self) -> ObjectStoragePath:
        return _home_of(self.address)

    @property
    def _fs(self) -> Any:
        return self._home.fs

    @property
    def _is_local(self) -> bool:
        return self._home.protocol in ("", "file", "local")

    def _path(self, *parts: str) -> str:
        return "/".join((self._home.path.rstrip("/"), *parts))

    # ------------------------------------------------------------------ storing

    def put(self, event: RunEvent | UnknownEvent) -> bool:
        """Store an event; it is durable when this returns True.

        :return: False if the event was there already.
        :raises OSError: or the store's own error; nothing is visible then.
        """
        folder, name, data = _stored(event)
        try:
            if self._is_local:
                disk.create(self._path(*folder), name, data, scratch=self._path("partial"))
            else:
                # Of several writers exactly one succeeds: a conditional request (``If-None-Match``).
                self._fs.pipe_file(self._path(*folder, name), data, mode="create")
        except FileExistsError:
            return False
        return True

    # ------------------------------------------------------------------ reading

    def arrived(self, batch_id: str | None) -> dict[str, Arrived]:
        """Return the latest state of each run of a batch, by its id; one listing, nothing is read.

        :param batch_id: None for the runs that belong to no batch.
        """
        found: dict[str, list[re.Match[str]]] = {}
        for path in self._listed("runs", _folder(batch_id)):
            match = _NAME.fullmatch(path.rsplit("/", 1)[-1])
            if match is not None:
                found.setdefault(match["run"], []).append(match)
        return {run_id: _arrived(run_id, matches) for run_id, matches in found.items()}

    def read(self, batch_id: str | None, arrived: Arrived) -> Delivered:
        """Return a run in its latest state.

        :raises FileNotFoundError: somebody has removed it since it was listed.
        :raises UnreadableEventError: it is not what was stored.
        """
        path = self._path("runs", _folder(batch_id), arrived.names[0])
        data = self._fs.cat_file(path)
        try:
            head, _, received = gzip.decompress(data).partition(b"\n")
            known = _mapping(json.loads(head))
            version = known["version"]
            if version == FORMAT:
                return Delivered(known["event_id"], known["event_type"], known["api_version"], received)
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise _unreadable(path, error) from None
        raise UnreadableEventError(
            f"{path} has format {version!r}; this release reads {FORMAT}. A newer release wrote it: use that."
        )

    def batches(self) -> Iterator[tuple[str, dt.datetime]]:
        """Yield the batches that have events, each with the time of its newest one."""
        newest: dict[str, dt.datetime] = {}
        for batch_id, _, modified in self._events():
            newest[batch_id] = max(modified, newest.get(batch_id, modified))
        newest.pop(SINGLE, None)
        yield from newest.items()

    # ------------------------------------------------------------------ cleaning

    def remove(self, batch_id: str | None, names: Iterable[str]) -> None:
        """Remove exactly these objects of a batch; what has come later stays."""
        folder = self._path("runs", _folder(batch_id))
        self._remove([f"{folder}/{name}" for name in names])
        if self._is_local:
            with contextlib.suppress(OSError):  # it is not empty, or somebody else was quicker
                Path(folder).rmdir()

    def sweep(self, older_than: dt.datetime, keep: Callable[[str], bool]) -> int:
        """Remove what came before a time and belongs to no batch that is at work.

        :param keep: whether a batch, by its id, is at work; asked once for each batch.
        :return: how many events were removed.
        """
        old: dict[str, list[str]] = {}
        for batch_id, name, modified in self._events():
            if modified < older_than:
                old.setdefault(batch_id, []).append(name)
        removed = 0
        for batch_id, names in old.items():
            if batch_id == SINGLE or not keep(batch_id):
                self.remove(None if batch_id == SINGLE else batch_id, names)
                removed += len(names)
        for folder in ("unknown", "partial"):
            paths = [path for path, modified in self._found(folder) if modified < older_than]
            self._remove(paths)
            removed += len(paths) if folder == "unknown" else 0
        return removed

    def _remove(self, paths: list[str]) -> None:
        if self._is_local:
            for path in paths:
                Path(path).unlink(missing_ok=True)
        elif paths:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm(paths)

    # ------------------------------------------------------------------ listing

    def _listed(self, *folder: str) -> list[str]:
        path = self._path(*folder)
        if self._is_local:
            with contextlib.suppress(FileNotFoundError):
                return os.listdir(path)  # noqa: PTH208  # names, as below
            return []
        self._fs.invalidate_cache(path)
        try:
            return list(self._fs.ls(path, detail=False))
        except FileNotFoundError:
            return []
        finally:
            self._fs.invalidate_cache(path)  # nobody lists it in the same state again

    def _found(self, folder: str) -> Iterator[tuple[str, dt.datetime]]:
        """Yield the objects below a folder, each with the time that it was stored."""
        path = self._path(folder)
        if self._is_local:
            for home, _, names in os.walk(path):
                for name in names:
                    with contextlib.suppress(FileNotFoundError):  # removed at this moment
                        yield f"{home}/{name}", _moment(os.stat(f"{home}/{name}").st_mtime)  # noqa: PTH116
        else:
            self._fs.invalidate_cache()
            for found, details in self._fs.find(path, detail=True).items():
                yield str(found), _modified(details)

    def _events(self) -> Iterator[tuple[str, str, dt.datetime]]:
        """Yield the events of runs: the folder of their batch, their name, and when they were stored."""
        for path, modified in self._found("runs"):
            folder, name = path.rsplit("/", 2)[-2:]
            if is_id(folder) and name.endswith(_ENDING):
                yield folder, name, modified


@lru_cache(maxsize=64)
def _home_of(address: str) -> ObjectStoragePath:
    return ObjectStoragePath(address)  # may look up a connection


def _folder(batch_id: str | None) -> str:
    if batch_id is None:
        return SINGLE
    if not is_id(batch_id):
        raise ValueError(f"{batch_id!r} does not have the form of a batch's id.")
    return batch_id


def _stored(event: RunEvent | UnknownEvent) -> tuple[tuple[str, ...], str, bytes]:
    """Return an event's folder, name and content."""
    ending = event.event_id
    if len(ending) > _LONGEST_EVENT_ID:
        ending = hashlib.sha256(ending.encode()).hexdigest()
    head = {"version": FORMAT, "event_id": event.event_id, "event_type": event.event_type}
    if isinstance(event, UnknownEvent):
        folder: tuple[str, ...] = ("unknown",)
        name = f"{ending}{_ENDING}"
    else:
        head["api_version"] = event.api_version
        updated = f"{event.moment:%Y%m%dT%H%M%S%fZ}" if event.moment else _UNKNOWN_TIME
        folder = ("runs", _folder(event.batch_id))
        name = f"{event.run_id}~{event.status}~{updated}~{ending}{_ENDING}"
    return folder, name, gzip.compress(json.dumps(head).encode() + b"\n" + event.received, mtime=0)


def _arrived(run_id: str, matches: list[re.Match[str]]) -> Arrived:
    latest = sorted(matches, key=_rank, reverse=True)
    names = tuple(match[0] for match in latest)
    return Arrived(run_id, latest[0]["status"], latest[0]["updated"], names)


def _rank(match: re.Match[str]) -> tuple[int, str, str]:
    """Order the states of a run: a decision beats a review, whatever came first; then the later change."""
    status = match["status"]
    step = 2 if status in SETTLED_STATUSES and status != RunStatus.NEEDS_REVIEW else 1
    return (0 if status in IN_FLIGHT_STATUSES else step, match["updated"], match[0])


def _modified(details: Mapping[str, Any]) -> dt.datetime:
    """Return when an object was stored; file systems name it differently."""
    for name in ("LastModified", "mtime", "last_modified", "updated", "modified"):
        match details.get(name):
            case dt.datetime() as moment:
                return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
            case int() | float() as seconds:
                return _moment(seconds)
            case str() as text:
                return dt.datetime.fromisoformat(text)
    return dt.datetime.now(dt.UTC)  # a store that does not say: nothing of it is ever old


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UnreadableAnswerError(f"a JSON object was expected, it is a {type(value).__name__}")
    return value


def _unreadable(what: str, error: Exception) -> UnreadableEventError:
    return UnreadableEventError(
        f"{what} cannot be read as a webhook's event ({type(error).__name__}). The run itself is at Extend; "
        "it is asked for instead."
    )
