"""Discovery: from the addresses of the source to documents, one page of a listing at a time."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from extend_pipeline.documents import (
    ARCHIVED_MESSAGE,
    EMPTY_FILE,
    NAME_UNUSABLE,
    OBJECT_ARCHIVED,
    OBJECT_DELETED,
    OBJECT_UNIDENTIFIED,
    SIZE_UNKNOWN,
    SYSTEM_FILE,
    UNSUPPORTED_FILE_TYPE,
    Document,
)
from extend_pipeline.settings import Settings, SourceItem
from extend_pipeline.sources import Absent, Forbidden, Found, Located, Seen, Stores, Unusable
from extend_pipeline.sources.document_names import is_litter, leads_elsewhere, written
from extend_pipeline.sources.globs import matches
from extend_pipeline.sources.objects import forbidden, plausible_time
from extend_provider.client.validation import is_supported_type

if TYPE_CHECKING:
    from extend_pipeline.warehouse.api import Warehouse

#: Most named objects in one piece.
_NAMED_AT_ONCE = 1000


def pieces(settings: Settings) -> Iterator[range]:
    """Divide the source into pieces, by position: each prefix, and up to 1,000 named objects."""
    begin = 0
    for is_prefix, group in itertools.groupby(settings.source, lambda item: item.is_prefix):
        end, step = begin + len(list(group)), 1 if is_prefix else _NAMED_AT_ONCE
        yield from (range(first, min(first + step, end)) for first in range(begin, end, step))
        begin = end


def discover_piece(stores: Stores, settings: Settings, addresses: range) -> Iterator[Document]:
    """Yield the documents of one piece, with the reason for each that cannot be sent.

    Folder markers (keys that end in ``/``) and objects outside the glob or the time window are not documents
    of this run and are left out. So is an object that an earlier address of the source covers.

    :raises PipelineInputError: if a place does not exist or may not be listed.
    """
    item = settings.source[addresses[0]]
    if item.is_prefix:
        yield from documents_on(stores.of(item.root).pages(item.place), addresses[0], settings)
    else:
        yield from _look_up(stores, addresses, settings)


def documents_on(
    pages: Iterable[Iterable[Found | Unusable]], number: int, settings: Settings
) -> Iterator[Document]:
    """Yield the documents of listed pages; an object that is listed twice in a row is one document.

    :param number: the position in the source of the prefix that was listed.
    """
    item = settings.source[number]
    folder = len(item.key.rpartition("/")[0])
    earlier = _Addresses(settings.source[:number])
    last = None
    for found in itertools.chain.from_iterable(pages):
        key = found.key
        modified = found.modified if isinstance(found, Found) else None
        is_folder = isinstance(found, Unusable) and key.endswith("/")
        if key == last or not (is_folder or is_wanted(key, modified, item, settings)):
            continue
        if number and any(
            is_folder or is_wanted(key, modified, other, settings)
            for other in earlier.covering(item.root, key)
        ):
            continue
        last = key
        yield screen(f"{item.root}/{key}", found, key[folder:])


def failed_before(warehouse: Warehouse, settings: Settings) -> Iterator[Document]:
    """Yield documents that failed or were cancelled when they were sent to this workflow and version before.

    With a source, only those that it covers; with reasons or document ids, only those. Whether the objects
    still exist is checked when they are sent.
    """
    reasons, documents = set(settings.failed_reasons), set(settings.failed_documents)
    for letter in warehouse.dead_letters(workflow_id=settings.workflow_id, version=settings.version):
        document = letter.document
        if reasons and (letter.reason or letter.status) not in reasons:
            continue
        if documents and document.id not in documents:
            continue
        root, key = Located.of(document.uri)
        modified = plausible_time(document.last_modified)
        for item in settings.source or (SourceItem(root, "", is_prefix=True),):
            if item.covers(root, key) and is_wanted(key, modified, item, settings):
                yield document
                break


def screen(uri: str, found: Found | Unusable, below: str | None = None) -> Document:
    """Make a document of a listed object, and decide whether it can be sent.

    :param below: the key below the folder of the source; None for the name alone.
    """
    if isinstance(found, Unusable):
        is_folder = found.key.endswith("/")
        return _ended(uri, found if is_folder else _unfit_name(uri, below) or found)
    modified = "" if found.modified is None else found.modified.isoformat()
    document = Document(uri, found.tag, found.size_bytes or 0, modified)
    unfit = _unfit_name(uri, below) or _unfit_facts(found)
    if unfit is None:
        return document
    return dataclasses.replace(
        document, uri=written(uri), status=unfit.status, reason=unfit.reason, message=unfit.message
    )


def _unfit_name(uri: str, below: str | None = None) -> Unusable | None:
    """Return why a document with this name cannot be sent; None if it can."""
    if is_litter(posixpath.basename(uri) if below is None else below):
        message = "A system file, not a document."
        return Unusable(uri, SYSTEM_FILE, message, "SKIPPED")
    shown = written(uri)
    if not is_supported_type(uri):
        suffix = posixpath.splitext(shown)[1].removeprefix(".") or "none"
        message = f"Extend does not read files of this type (extension: {suffix})."
        return Unusable(uri, UNSUPPORTED_FILE_TYPE, message, "SKIPPED")
    if shown != uri:
        message = (
            "The address has control characters or bytes that are not UTF-8; they are escaped here. "
            "Rename the file."
        )
        return Unusable(uri, NAME_UNUSABLE, message)
    if leads_elsewhere(uri):
        message = "The key has a folder '.' or '..', so no URL can address the object. Copy it elsewhere."
        return Unusable(uri, NAME_UNUSABLE, message)
    return None


def _unfit_facts(found: Found) -> Unusable | None:
    """Return why an object of this size, tag and storage class cannot be sent; None if it can."""
    if found.size_bytes is None:
        message = "Its store reports no size, or an impossible one. Copy it again."
        return Unusable(found.key, SIZE_UNKNOWN, message)
    if found.size_bytes == 0:
        return Unusable(found.key, EMPTY_FILE, "The object is empty.", "SKIPPED")
    if not found.tag:
        message = (
            "Its store reports neither an ETag nor a modification time, so it would be unknown whether the "
            "object was paid for already. Copy it to a bucket."
        )
        return Unusable(found.key, OBJECT_UNIDENTIFIED, message)
    if found.archived:
        return Unusable(found.key, OBJECT_ARCHIVED, ARCHIVED_MESSAGE, "SKIPPED")
    return None


def is_wanted(key: str, modified: dt.datetime | None, item: SourceItem, settings: Settings) -> bool:
    """Return True if an object belongs to this run: it is named, or listed and in the glob and the window.

    The glob is matched against what follows the prefix. The window includes its beginning and not its end, so
    that adjoining windows share no object. An object without a time is in every window, so that it is not
    lost.
    """
    if key.endswith("/"):
        return False
    if not item.is_prefix:
        return True
    if settings.glob and not matches(settings.glob, key[len(item.key) :].lstrip("/")):
        return False
    if modified is None:
        return True
    after = settings.modified_from is None or modified >= _aware(settings.modified_from)
    before = settings.modified_to is None or modified < _aware(settings.modified_to)
    return after and before


def _aware(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _look_up(stores: Stores, addresses: range, settings: Settings) -> Iterator[Document]:
    earlier = _Addresses(settings.source[: addresses[0]])
    named = dict.fromkeys(settings.source[number] for number in addresses)
    chosen = [item for item in named if not any(earlier.covering(item.root, item.key))]
    for _, _, document in look_up(stores, chosen):
        yield document


def look_up(stores: Stores, items: Sequence[SourceItem]) -> Iterator[tuple[SourceItem, Seen, Document]]:
    """Yield each named object, what its store says of it, and the document that it is.

    An object whose name cannot be written is not looked up: the store might not accept the name.
    """
    unfit = {item: why for item in items if written(item.uri) != item.uri and (why := _unfit_name(item.uri))}
    seen = iter(stores.look_up([item.place for item in items if item not in unfit]))
    for item in items:
        found = unfit.get(item) or next(seen)
        yield item, found, _looked_up(item, found)


class _Addresses:
    """Finds the addresses that cover an object, however many there are."""

    def __init__(self, items: Sequence[SourceItem]) -> None:
        self._prefixes = [item for item in items if item.is_prefix]
        self._named = {(item.root, item.key): item for item in items if not item.is_prefix}

    def covering(self, root: str, key: str) -> Iterator[SourceItem]:
        """Yield the addresses that cover the object."""
        if self._named and (item := self._named.get((root, key))):
            yield item
        for item in self._prefixes:
            if item.covers(root, key):
                yield item


def _looked_up(item: SourceItem, seen: Seen) -> Document:
    if isinstance(seen, Found):
        return screen(item.uri, seen)
    if isinstance(seen, Absent):
        message = "There is no object at this address; a prefix must end in '/'."
        seen = Unusable(item.key, OBJECT_DELETED, message)
    return _ended(item.uri, forbidden(item.key) if isinstance(seen, Forbidden) else seen)


def _ended(uri: str, why: Unusable) -> Document:
    return Document(written(uri), "", 0, "", why.status, why.reason, why.message)
