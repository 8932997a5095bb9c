"""Bundles in the workspace: what has arrived and no run has landed yet.

    <workspace>/arrivals/<name>/<time>~<documents>~<id>.json         a bundle: a list of addresses
    <workspace>/arrivals/<name>/<time>~<documents>~<id>.taken.json   the run that works on it

Invariants: a bundle is whole before its messages are deleted from the queue, so an address is in the queue
or here, or in both; a bundle is removed when all its documents have landed, so a run that fails leaves it to
a later one. One listing shows what waits.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from airflow.sdk import ObjectStoragePath

from extend_pipeline.arrivals.bundling import Bundle
from extend_pipeline.batches.reservations import Planner
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.sources.objects import Located
from extend_pipeline.storage.formats import Stored, read, write, write_once
from extend_pipeline.storage.workspace import write_json

log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"(\d{8}T\d{6})(\d{3})~(\d+)~[0-9a-f]+")
_BUNDLE, _TAKEN = ".json", ".taken.json"


class Manifest(Stored, frozen=True):
    """The content of a bundle.

    :ivar documents: addresses, as S3 has the keys: whatever characters they hold.
    """

    documents: list[str]


class Taken(Stored, frozen=True):
    """The run that works on a bundle, and since when."""

    by: Planner
    at: dt.datetime


class Bundles:
    """The bundles of one arrivals object.

    :param workspace: the rendered workspace.
    :param name: of the arrivals object.
    """

    def __init__(self, workspace: str, name: str) -> None:
        self._folder = ObjectStoragePath(workspace) / "arrivals" / name

    def write(self, places: Sequence[Located], now: float) -> Bundle:
        """Write a bundle whole; it is durable when this returns."""
        moment = dt.datetime.fromtimestamp(now, dt.UTC)
        stamp = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}"
        name = f"{stamp}~{len(places)}~{uuid.uuid4().hex[:12]}"
        write(self._folder / f"{name}{_BUNDLE}", Manifest(documents=[place.uri for place in places]))
        return Bundle(name, len(places), now)

    def waiting(self) -> list[Bundle]:
        """Return the bundles that no run has taken, the oldest first."""
        bundles, taken = self._list()
        return [bundle for bundle in bundles if bundle.name not in taken]

    def take(
        self, run: Planner, is_active: Callable[[Planner, dt.datetime], bool], *, most: int
    ) -> list[Bundle]:
        """Take the bundles that no other run works on, the oldest first; return them.

        What a run has taken that is not active any more, because it failed or was deleted, is taken again. Of
        two runs at the same moment one gets a free bundle. If both get one, that is harmless: a document is
        planned and paid for once.

        :param is_active: whether a run may still land what it has taken; called once for each run.
        :param most: stop when so many documents are taken; the rest is left to the next run.
        """
        bundles, taken = self._list()
        answers: dict[str, bool] = {}
        mine: list[Bundle] = []
        for bundle in bundles:
            if mine and sum(each.documents for each in mine) + bundle.documents > most:
                break
            with _left_if_unreadable():
                owner = self._owner(bundle.name) if bundle.name in taken else None
                if owner is not None and not owner.by.is_of_same_run(run):
                    if owner.by.name not in answers:
                        answers[owner.by.name] = is_active(owner.by, owner.at)
                    if answers[owner.by.name]:
                        continue
                readable = self._read(bundle.name) is not None  # or removed, since it was listed
                if readable and self._mark(bundle.name, run, again=owner is not None):
                    mine.append(bundle)
        return mine

    def places(self, name: str) -> Iterator[Located]:
        """Yield the addresses of a bundle; none if it has been removed, because its documents have landed."""
        manifest = self._read(name)
        for uri in manifest.documents if manifest else ():
            yield Located.of(uri)

    def remove(self, names: Iterable[str]) -> None:
        """Remove bundles whose documents have landed; the mark last, so that none becomes free meanwhile."""
        for name in names:
            for ending in (_BUNDLE, _TAKEN):
                (self._folder / f"{name}{ending}").unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Raise the store's error if nothing can be written."""
        probe = self._folder / f"probe-{uuid.uuid4().hex}.tmp"
        write_json(probe, {})
        probe.unlink(missing_ok=True)

    def _list(self) -> tuple[list[Bundle], set[str]]:
        folder = self._folder
        # A triggerer lives long, and other processes add and remove files meanwhile.
        folder.fs.invalidate_cache(folder.path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = sorted(path.name for path in folder.iterdir())
            bundles = [bundle for name in names if (bundle := _bundle(name))]
            return bundles, {name.removesuffix(_TAKEN) for name in names if name.endswith(_TAKEN)}
        return [], set()

    def _read(self, name: str) -> Manifest | None:
        return read(self._folder / f"{name}{_BUNDLE}", Manifest)

    def _owner(self, name: str) -> Taken | None:
        return read(self._folder / f"{name}{_TAKEN}", Taken)

    def _mark(self, name: str, run: Planner, *, again: bool) -> bool:
        path, mark = self._folder / f"{name}{_TAKEN}", Taken(by=run, at=dt.datetime.now(dt.UTC))
        if again:
            write(path, mark)
            return True
        return write_once(path, mark)


@contextlib.contextmanager
def _left_if_unreadable() -> Iterator[None]:
    """Leave a damaged bundle, and one of a newer release to a run that can read it."""
    try:
        yield
    except PipelineInputError as error:
        log.error("%s Its documents are left, and the other bundles are taken.", error)  # noqa: TRY400


def _bundle(file_name: str) -> Bundle | None:
    found = _NAME.fullmatch(file_name.removesuffix(_BUNDLE))
    if found is None or not file_name.endswith(_BUNDLE):
        return None
    moment = dt.datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
    return Bundle(found[0], int(found[3]), moment.timestamp() + int(found[2]) / 1000)
