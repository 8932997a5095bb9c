"""What a run takes of the arrivals: the bundles, their documents, and the end of them.

The file ``arrived.json`` in the run's folder names the bundles that the run has taken.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from airflow.sdk import ObjectStoragePath

from extend_pipeline.arrivals.manifests import Bundles
from extend_pipeline.batches.reservations import Planner, is_active
from extend_pipeline.documents import Document
from extend_pipeline.planning.discovery import look_up
from extend_pipeline.planning.listing import Piece
from extend_pipeline.planning.plan import Plan
from extend_pipeline.settings import Settings, SourceItem
from extend_pipeline.sources import Absent, Stores
from extend_pipeline.sources.document_names import written
from extend_pipeline.storage.formats import Stored, read, write

log = logging.getLogger(__name__)

#: The most documents that one run takes; the next run takes the rest at once.
MOST_DOCUMENTS: Final = 50_000
#: Documents in one piece of the listing, and addresses that the log names.
_IN_A_PIECE: Final = 1000
_NAMED: Final = 20


class Arrived(Stored, frozen=True):
    """The bundles that a run has taken."""

    bundles: list[str]


def take_arrivals(
    folder: ObjectStoragePath,
    settings: Settings,
    run: Planner,
    active: Callable[[Planner, dt.datetime], bool] = is_active,
) -> list[Piece]:
    """Take what has arrived, and return the pieces of the run's listing.

    A retry of the task takes the same bundles, so that the pieces that it has listed already stay whole.

    :param folder: the run's.
    """
    bundles = _bundles(settings)
    arrived = read(_path(folder), Arrived)
    if arrived is None:
        taken = bundles.take(run, active, most=MOST_DOCUMENTS)
        arrived = Arrived(bundles=[bundle.name for bundle in taken])
        write(_path(folder), arrived)
    items = dict.fromkeys(
        SourceItem(*place, is_prefix=False) for name in arrived.bundles for place in bundles.places(name)
    )
    log.info(
        "%s documents have arrived, in %s bundles of %s.",
        f"{len(items):,}",
        f"{len(arrived.bundles):,}",
        settings.arrivals,
    )
    stores, every = settings.stores(), list(items)
    return [
        functools.partial(_found, stores, every[begin : begin + _IN_A_PIECE])
        for begin in range(0, len(every), _IN_A_PIECE)
    ]


def release_arrivals(folder: ObjectStoragePath, settings: Settings, plan: Plan) -> None:
    """Remove the bundles of a run in which every document has landed.

    They stay if the plan has left documents to a later run, or to another one that may still fail.
    """
    if plan.dry_run or plan.refused or plan.left or plan.theirs:
        log.info("The bundles of this run stay for a later one, which takes them beside new arrivals.")
        return
    arrived = read(_path(folder), Arrived)
    _bundles(settings).remove(arrived.bundles if arrived else ())


def _found(stores: Stores, items: Sequence[SourceItem]) -> Iterator[Document]:
    """Yield the documents as they are now; one that is gone again is none, and the log names it."""
    gone: list[str] = []
    for item, seen, document in look_up(stores, items):
        if isinstance(seen, Absent):
            gone.append(item.uri)
        else:
            yield document
    if gone:
        more = f" and {len(gone) - _NAMED:,} more" if len(gone) > _NAMED else ""
        log.info("Gone since they arrived, and left out: %s%s.", ", ".join(map(written, gone[:_NAMED])), more)


def _bundles(settings: Settings) -> Bundles:
    return Bundles(settings.workspace, settings.arrivals or "")


def _path(folder: ObjectStoragePath) -> ObjectStoragePath:
    return folder / "arrived.json"
