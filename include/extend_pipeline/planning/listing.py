"""Candidates: what a run has discovered, listed into parts that a retry need not repeat.

    candidates/00000-00000.jsonl      the first address: its first keys, or all it has
    candidates/00000-00000.done.json  that part is whole; where the listing goes on, in which ranges of keys
    candidates/00000-00001.jsonl      the first of these ranges, and so on

Invariant: a part says that it is done only when its file is whole, so what an attempt of the task that died
has left is either complete or not there. The order of the parts is the order of the documents.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import OBJECT_UNREACHABLE, Document
from extend_pipeline.exceptions import PipelineSourceError
from extend_pipeline.planning.discovery import discover_piece, documents_on, pieces
from extend_pipeline.settings import Settings
from extend_pipeline.sources import Found, KeyRange, Stores, Unusable
from extend_pipeline.storage.workspace import read_documents, read_json, write_documents, write_json

_Page: TypeAlias = Sequence[Found | Unusable]
#: Pages that a listing has before it is worth dividing: finding out where takes dozens of requests.
OPENING_PAGES: Final = 50


def write_candidates(folder: ObjectStoragePath, stores: Stores, settings: Settings) -> int:
    """List the source into the run's folder and return how many documents there are.

    Long listings are divided into ranges of keys, ``settings.parallel_listings`` of which are listed at a
    time. Parts that an earlier attempt in the same folder has finished are left as they are.

    :raises PipelineSourceError: if there are documents, and not one of them could be reached: that tells of a
        network, not of documents.
    """
    parts: list[str] = []
    count = 0
    unreachable: dict[str, int] = {}
    with _untroubled_by_garbage():
        for number, addresses in enumerate(pieces(settings)):
            name = f"{number:05d}-00000"
            opening = _done(folder, name) or _open(folder, name, stores, settings, addresses)
            ranges = {
                f"{number:05d}-{each:05d}": KeyRange(*keys) for each, keys in enumerate(opening["ranges"], 1)
            }
            parts += [name, *ranges]
            count += opening["documents"] + _list_ranges(folder, stores, settings, addresses, ranges)
            unreachable[name] = opening.get("unreachable", 0)
    if count and sum(unreachable.values()) == count:
        for name in unreachable:  # the next attempt asks again
            _done_path(folder, name).unlink(missing_ok=True)
        first = next(read_documents(_part(folder, parts[0])))
        raise PipelineSourceError(
            f"Not one of {count:,} documents could be reached. {first.uri!r}: {first.message} Nothing was "
            "sent to Extend; the next attempt of this task asks again.",
            retryable=True,
        )
    write_json(_home(folder) / "parts.json", parts)
    return count


@contextlib.contextmanager
def _untroubled_by_garbage() -> Iterator[None]:
    """Let collections of the many short-lived objects not go through all that Airflow has loaded.

    That is a fifth of the time of a listing.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def read_candidates(folder: ObjectStoragePath) -> Iterator[Document]:
    """Read what :func:`write_candidates` has found, one document at a time."""
    parts = read_json(_home(folder) / "parts.json")
    if parts is None:
        raise FileNotFoundError(
            f"What was discovered into {folder} is gone from the workspace. Clear the whole task group: it "
            "is discovered anew, and documents that were sent are not sent again."
        )
    for name in parts:
        yield from read_documents(_part(folder, name))


def _open(
    folder: ObjectStoragePath, name: str, stores: Stores, settings: Settings, addresses: range
) -> dict[str, Any]:
    """List a piece, but of a long listing its first pages only, and find ranges for the rest."""
    item = settings.source[addresses[0]]
    ranges: list[KeyRange] = []
    if (
        not item.is_prefix
        or settings.parallel_listings == 1
        or not stores.of(item.root).can_split(item.place)
    ):
        found = _Counted(discover_piece(stores, settings, addresses))
        count = write_documents(_part(folder, name), found)
        return _say_done(folder, name, count, unreachable=found.unreachable)
    store, seen = stores.of(item.root), _Seen()
    pages = seen.noting(itertools.islice(store.pages(item.place), OPENING_PAGES))
    count = write_documents(_part(folder, name), documents_on(pages, addresses[0], settings))
    if seen.pages == OPENING_PAGES:
        ranges = store.split(item.place, seen.last_key)
    return _say_done(folder, name, count, ranges)


def _list_ranges(
    folder: ObjectStoragePath,
    stores: Stores,
    settings: Settings,
    addresses: range,
    ranges: dict[str, KeyRange],
) -> int:
    def list_range(name: str, keys: KeyRange) -> int:
        if (done := _done(folder, name)) is None:
            found = discover_piece(stores, settings, addresses, keys)
            done = _say_done(folder, name, write_documents(_part(folder, name), found))
        return int(done["documents"])

    if not ranges:
        return 0
    with concurrent.futures.ThreadPoolExecutor(settings.parallel_listings) as pool:
        listings = [pool.submit(list_range, name, keys) for name, keys in ranges.items()]
        try:
            return sum(listing.result() for listing in concurrent.futures.as_completed(listings))
        except BaseException:
            # Those that are under way come to their end, which a retry then finds.
            pool.shutdown(cancel_futures=True)
            raise


class _Counted:
    """Documents of which those are counted, as they pass, that could not be reached."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = documents
        self.unreachable = 0

    def __iter__(self) -> Iterator[Document]:
        for document in self._documents:
            self.unreachable += document.reason == OBJECT_UNREACHABLE
            yield document


class _Seen:
    """How far a listing has been read.

    :ivar pages: pages so far; ``last_key``: the last key on them.
    """

    def __init__(self) -> None:
        self.pages, self.last_key = 0, ""

    def noting(self, pages: Iterator[_Page]) -> Iterator[_Page]:
        for page in pages:
            self.pages, self.last_key = self.pages + 1, page[-1].key
            yield page


def _home(folder: ObjectStoragePath) -> ObjectStoragePath:
    return folder / "candidates"


def _part(folder: ObjectStoragePath, name: str) -> ObjectStoragePath:
    return _home(folder) / f"{name}.jsonl"


def _done_path(folder: ObjectStoragePath, name: str) -> ObjectStoragePath:
    return _home(folder) / f"{name}.done.json"


def _done(folder: ObjectStoragePath, name: str) -> dict[str, Any] | None:
    return read_json(_done_path(folder, name))


def _say_done(
    folder: ObjectStoragePath,
    name: str,
    documents: int,
    ranges: list[KeyRange] | None = None,
    *,
    unreachable: int = 0,
) -> dict[str, Any]:
    done = {"documents": documents, "ranges": ranges or [], "unreachable": unreachable}
    write_json(_done_path(folder, name), done)
    return done
