"""The listing of a run: the documents of its source, in files, so that a retry does not list them again.

    candidates/00000-00000.jsonl      the documents of the source's first piece, see discovery.pieces
    candidates/00000-00000.done.json  that file is whole
    candidates/parts.json             the names of all these files: the listing is whole

Invariant: a piece is marked as done only when its file is whole, so a piece
of a killed attempt is either complete or listed again. The order of the pieces is the order of the documents.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from airflow.sdk import ObjectStoragePath

from extend_pipeline.documents import OBJECT_UNREACHABLE, Document
from extend_pipeline.exceptions import PipelineSourceError
from extend_pipeline.planning.discovery import discover_piece, pieces
from extend_pipeline.settings import Settings
from extend_pipeline.storage.formats import Stored, read, write
from extend_pipeline.storage.workspace import read_documents, read_json, write_documents, write_json

#: A part of a listing; a call lists it.
Piece: TypeAlias = Callable[[], Iterable[Document]]


class ListedPiece(Stored, frozen=True):
    """The mark of a piece that is listed.

    :ivar documents: how many it has.
    :ivar unreachable: how many of these could not be reached.
    :ivar ranges: of an earlier release, which divided long listings: the file has only the first pages.
    """

    documents: int
    unreachable: int = 0
    ranges: tuple[Any, ...] = ()


def pieces_of(settings: Settings) -> list[Piece]:
    """Return the pieces of the settings' source."""
    stores = settings.stores()
    return [functools.partial(discover_piece, stores, settings, addresses) for addresses in pieces(settings)]


def write_listing(
    folder: ObjectStoragePath, settings: Settings, listed_in: Sequence[Piece] | None = None
) -> int:
    """List the source into the run's folder and return how many documents there are.

    Pieces that an earlier attempt has finished in the same folder are left as they are.

    :param listed_in: the pieces, the same ones in each attempt; those of the settings' source if left out.

    :raises PipelineSourceError: if there are documents and none of them could be reached: that is a problem
        of the network, not of the documents.
    """
    listed: dict[str, ListedPiece] = {}
    with _frozen_garbage():
        for number, piece in enumerate(pieces_of(settings) if listed_in is None else listed_in):
            name = f"{number:05d}-00000"
            listed[name] = _finished(folder, name) or _list(folder, name, piece)
    count = sum(each.documents for each in listed.values())
    if count and count == sum(each.unreachable for each in listed.values()):
        for name in listed:  # so that the next attempt lists again
            _mark(folder, name).unlink(missing_ok=True)
        first = next(read_documents(_file(folder, next(iter(listed)))))
        raise PipelineSourceError(
            f"None of {count:,} documents could be reached. {first.uri!r}: {first.message} Nothing was "
            "sent to Extend; the next attempt of this task tries again.",
            retryable=True,
        )
    write_json(_names(folder), list(listed))
    return count


def read_listing(folder: ObjectStoragePath) -> Iterator[Document]:
    """Read what :func:`write_listing` has found, one document at a time."""
    names = read_json(_names(folder))
    if names is None:
        raise FileNotFoundError(
            f"The listing in {folder} is gone from the workspace. Clear the whole task group: the source is "
            "listed again, and documents that were sent are not sent again."
        )
    for name in names:
        yield from read_documents(_file(folder, name))


@contextlib.contextmanager
def _frozen_garbage() -> Iterator[None]:
    """Exclude the objects that Airflow has loaded from garbage collections during a listing.

    The many short-lived objects trigger collections; this saves a fifth of the time of a listing.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _list(folder: ObjectStoragePath, name: str, piece: Piece) -> ListedPiece:
    unreachable = 0

    def counted(documents: Iterable[Document]) -> Iterator[Document]:
        nonlocal unreachable
        for document in documents:
            unreachable += document.reason == OBJECT_UNREACHABLE
            yield document

    documents = write_documents(_file(folder, name), counted(piece()))
    listed = ListedPiece(documents=documents, unreachable=unreachable)
    write(_mark(folder, name), listed)
    return listed


def _finished(folder: ObjectStoragePath, name: str) -> ListedPiece | None:
    piece = read(_mark(folder, name), ListedPiece)
    return None if piece is None or piece.ranges else piece


def _file(folder: ObjectStoragePath, name: str) -> ObjectStoragePath:
    return folder / "candidates" / f"{name}.jsonl"


def _mark(folder: ObjectStoragePath, name: str) -> ObjectStoragePath:
    return folder / "candidates" / f"{name}.done.json"


def _names(folder: ObjectStoragePath) -> ObjectStoragePath:
    return folder / "candidates" / "parts.json"
