"""Discover: from addresses to documents, one page of a listing at a time."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from extend_pipeline.documents import (
    ARCHIVED_MESSAGE,
    EMPTY_FILE,
    OBJECT_ARCHIVED,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    UNSUPPORTED_FILE_TYPE,
    Document,
)
from extend_pipeline.globs import matches
from extend_pipeline.settings import Settings, SourceItem
from extend_pipeline.stores import WHOLE, Absent, Found, KeyRange, Located, Seen, Stores, Unusable
from extend_provider.file_types import is_supported

if TYPE_CHECKING:
    from extend_pipeline.warehouse import Warehouse

#: Named objects that are looked up at the same time.
_LOOK_UPS = 16
#: How many of them make one piece of work.
_NAMED_AT_ONCE = 1000


def pieces(settings: Settings) -> Iterator[range]:
    """Divide the addresses, by their places in the source: each prefix alone, objects by the thousand."""
    begin = 0
    for is_prefix, group in itertools.groupby(settings.source, lambda item: item.is_prefix):
        end, step = begin + len(list(group)), 1 if is_prefix else _NAMED_AT_ONCE
        yield from (range(first, min(first + step, end)) for first in range(begin, end, step))
        begin = end


def discover_piece(
    stores: Stores, settings: Settings, addresses: range, keys: KeyRange = WHOLE
) -> Iterator[Document]:
    """Yield the documents of one piece, or of a range of keys of it, each with the reason if it is not sent.

    Folder markers (keys that end in ``/``), and objects outside the glob or the window of modification, are
    not documents of this run and are left out. An object that an earlier address covers is left to that one.

    :raises PipelineInputError: if a place does not exist or may not be read.
    """
    item = settings.source[addresses[0]]
    if item.is_prefix:
        yield from documents_on(stores.of(item.root).pages(item.place, keys), addresses[0], settings)
    else:
        yield from _look_up(stores, addresses, settings)


def documents_on(pages: Iterable[Iterable[Found]], number: int, settings: Settings) -> Iterator[Document]:
    """Yield the documents of listed pages.

    :param number: the place in the source of the prefix that was listed.
    """
    item = settings.source[number]
    earlier = _Addresses(settings.source[:number])
    for found in itertools.chain.from_iterable(pages):
        key = found.key
        if not is_wanted(key, found.modified, item, settings):
            continue
        if number and any(
            is_wanted(key, found.modified, other, settings) for other in earlier.covering(item.root, key)
        ):
            continue
        yield screen(f"{item.root}/{key}", found)


def failed_before(warehouse: Warehouse, settings: Settings) -> Iterator[Document]:
    """Yield what was sent to the settings' workflow and version before and failed, or was cancelled.

    Without a source it is all of that; with one, what the source covers. Whether the objects are still there
    is seen when they are sent.
    """
    for letter in warehouse.dead_letters(workflow_id=settings.workflow_id, version=settings.version):
        document = letter.document
        root, key = Located.of(document.uri)
        modified = dt.datetime.fromisoformat(document.last_modified)
        for item in settings.source or (SourceItem(root, "", is_prefix=True),):
            if item.covers(root, key) and is_wanted(key, modified, item, settings):
                yield document
                break


def screen(uri: str, found: Found) -> Document:
    """Make a document of an object, deciding whether it can be sent at all."""
    modified = found.modified.isoformat()
    if not is_supported(found.key):
        name = uri.rpartition("/")[2]
        suffix = name.rpartition(".")[2] if "." in name else "none"
        return Document(
            uri,
            found.tag,
            found.size_bytes,
            modified,
            "SKIPPED",
            UNSUPPORTED_FILE_TYPE,
            f"Extend does not read files of this type (extension: {suffix}).",
        )
    if found.size_bytes == 0:
        message = "The object holds no bytes."
        return Document(uri, found.tag, 0, modified, "SKIPPED", EMPTY_FILE, message)
    if found.archived:
        return Document(
            uri, found.tag, found.size_bytes, modified, "SKIPPED", OBJECT_ARCHIVED, ARCHIVED_MESSAGE
        )
    return Document(uri, found.tag, found.size_bytes, modified)


def is_wanted(key: str, modified: dt.datetime, item: SourceItem, settings: Settings) -> bool:
    """Whether an object belongs to this run: named itself, or listed, no folder marker, in glob and window.

    The glob is matched against what follows the prefix. The window holds its
    beginning and not its end, so that adjoining windows share no object.
    """
    if key.endswith("/"):
        return False
    if not item.is_prefix:
        return True
    if settings.glob and not matches(settings.glob, key[len(item.key) :].lstrip("/")):
        return False
    after = settings.modified_from is None or modified >= _aware(settings.modified_from)
    before = settings.modified_to is None or modified < _aware(settings.modified_to)
    return after and before


def _aware(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _look_up(stores: Stores, addresses: range, settings: Settings) -> Iterator[Document]:
    earlier = _Addresses(settings.source[: addresses[0]])
    named = dict.fromkeys(settings.source[number] for number in addresses)
    chosen = [item for item in named if not any(earlier.covering(item.root, item.key))]
    with concurrent.futures.ThreadPoolExecutor(_LOOK_UPS) as pool:
        found = pool.map(lambda item: stores.of(item.root).look_up(item.place), chosen)
        for item, seen in zip(chosen, found, strict=True):
            yield _looked_up(item, seen)


class _Addresses:
    """Addresses by which the one is found that an object is looked at because of, however many there are."""

    def __init__(self, items: Sequence[SourceItem]) -> None:
        self._prefixes = [item for item in items if item.is_prefix]
        self._named = {(item.root, item.key): item for item in items if not item.is_prefix}

    def covering(self, root: str, key: str) -> Iterator[SourceItem]:
        """Yield the addresses because of which the object is looked at."""
        if self._named and (item := self._named.get((root, key))):
            yield item
        for item in self._prefixes:
            if item.covers(root, key):
                yield item


def _looked_up(item: SourceItem, seen: Seen) -> Document:
    if isinstance(seen, Found):
        return screen(item.uri, seen)
    if isinstance(seen, Unusable):
        return Document(item.uri, "", 0, "", seen.status, seen.reason, seen.message)
    if isinstance(seen, Absent):
        reason, message = (
            OBJECT_DELETED,
            "There is no object at this address; a prefix to be listed ends in '/'.",
        )
    else:
        reason, message = OBJECT_FORBIDDEN, "The connection may not read this object."
    return Document(item.uri, "", 0, "", "FAILED", reason, message)
