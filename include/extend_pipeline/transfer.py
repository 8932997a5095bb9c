"""Transfer: how a document's bytes get from its store to Extend, checked at the last moment.

What was listed may be gone, or may be another content, by the time it is sent. Each object is therefore
looked at once more. A deleted one is not sent. Neither is a replaced one: its new content is another
document, which nobody has planned yet, and which the next discovery finds.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from extend_pipeline.documents import (
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    OBJECT_REPLACED,
    OBJECT_UNREACHABLE,
    Document,
    DocumentStatus,
    document_id,
)
from extend_pipeline.exceptions import PipelineSourceError
from extend_pipeline.stores import Absent, Forbidden, Located, Stores, Unusable
from extend_provider.models import FileInput

if TYPE_CHECKING:
    from extend_provider.hooks.extend import ExtendHook

#: Objects looked at, or uploaded, at the same time.
PARALLEL = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """A document as it stands right before it is sent, and the version to read where its store keeps them."""

    document: Document
    version_id: str | None = None


def check_objects(stores: Stores, documents: Iterable[Document]) -> Iterator[Checked]:
    """Look at each document's object again; yield it as it stands, in order."""
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        yield from pool.map(lambda document: _check(stores, document), documents)


def _check(stores: Stores, document: Document) -> Checked:
    place = Located.of(document.uri)
    seen = stores.of(place.root).look_up(place)
    if isinstance(seen, Absent):
        return _ended(document, "FAILED", OBJECT_DELETED, "The object was deleted after its discovery.")
    if isinstance(seen, Forbidden):
        return _ended(document, "FAILED", OBJECT_FORBIDDEN, "The object may not be read any more.")
    if isinstance(seen, Unusable):
        return _ended(document, seen.status, seen.reason, seen.message)
    if seen.tag != document.etag:
        now = document_id(document.uri, seen.tag)
        message = (
            f"The object was replaced after its discovery. Its new content, document {now}, is sent by the "
            "next run over this address."
        )
        return _ended(document, "SKIPPED", OBJECT_REPLACED, message)
    return Checked(document, seen.version)


def check_readable(checked: Sequence[Checked], conn_id: str) -> None:
    """See that not every object is kept away: that tells of credentials or a network, not of documents.

    A single one that may not be read is a document's own affair, and so are some among others.

    :param conn_id: of the connection that reads them.
    :raises PipelineSourceError: if two or more may not be read, and no other can be; or none can be reached.
    """
    there = [item.document for item in checked if item.document.reason != OBJECT_DELETED]
    reasons = {document.reason for document in there}
    if not there or not reasons <= {OBJECT_FORBIDDEN, OBJECT_UNREACHABLE}:
        return
    if len(there) < 2 and OBJECT_UNREACHABLE not in reasons:
        return
    places = sorted({"/".join(document.uri.split("/", 3)[:3]) for document in there})
    told = "" if OBJECT_UNREACHABLE not in reasons else f" {there[0].message}"
    raise PipelineSourceError(
        f"Not one of {len(there):,} documents in {', '.join(places)} may be read with the connection "
        f"{conn_id!r} any more.{told} Nothing was sent to Extend. Renew its credentials or their rights; the "
        "next attempt of this task looks again.",
        retryable=True,
    )


def _ended(document: Document, status: DocumentStatus, reason: str, message: str) -> Checked:
    return Checked(dataclasses.replace(document, status=status, reason=reason, message=message))


def check_signing(stores: Stores, documents: Iterable[Document], expires_in: int) -> None:
    """See that URLs signed now would live so many seconds.

    :raises PipelineInputError: if the credentials of a store end before.
    """
    for root in {Located.of(document.uri).root for document in documents}:
        stores.of(root).check_signing(expires_in)


def file_inputs(
    stores: Stores,
    checked: Sequence[Checked],
    hook: ExtendHook,
    *,
    transfer: Literal["presign", "upload"],
    expires_in: int,
) -> list[FileInput]:
    """Return an input for each document, in order.

    :param transfer: ``presign`` makes URLs that are valid for ``expires_in`` seconds from now; what lies in a
        store without such is uploaded all the same. An upload is read under the condition that it is still
        the content whose identity was recorded.
    """

    def signed(item: Checked) -> FileInput | None:
        place = Located.of(item.document.uri)
        url = stores.of(place.root).signed_url(place, item.version_id, expires_in)
        return None if url is None else FileInput(url=url, name=item.document.name)

    def upload(item: Checked) -> FileInput:
        place = Located.of(item.document.uri)
        content = stores.of(place.root).read(place, item.document.etag, item.version_id)
        return FileInput(file_id=hook.upload_file(item.document.name, content).id, name=item.document.name)

    # Signing needs no network, so threads would only be in each other's way.
    files = [signed(item) if transfer == "presign" else None for item in checked]
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        uploads = pool.map(upload, [item for item, file in zip(checked, files, strict=True) if file is None])
        return [next(uploads) if file is None else file for file in files]
