"""Inputs: the documents of a chunk become inputs of a batch, checked right before they are sent.

An object may have been deleted or replaced since it was listed, so each one is looked at once more. A deleted
one is not sent. Neither is a replaced one: its new content is another document, which nobody has planned yet,
and which the next discovery finds.

Extend takes a batch whole or not at all. A document for which it refuses one ends as FAILED with Extend's
reason, and the others are sent without it.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from extend_pipeline.documents import (
    ARCHIVED_MESSAGE,
    OBJECT_ARCHIVED,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    OBJECT_REPLACED,
    OBJECT_UNREACHABLE,
    Document,
    DocumentStatus,
    document_id,
)
from extend_pipeline.exceptions import PipelineSourceError
from extend_pipeline.sources import (
    Absent,
    Forbidden,
    Located,
    ObjectChangedError,
    Seen,
    Stores,
    Unusable,
)
from extend_pipeline.sources.contents import UnreadableError
from extend_pipeline.sources.objects import LOOK_UPS
from extend_provider.batch.refusals import FILE_REASONS, RefusedInput, reason_of
from extend_provider.client.models import BatchInput, FileInput, StoredFile
from extend_provider.exceptions import ExtendBadRequestError

if TYPE_CHECKING:
    from extend_pipeline.batches.sending.uploads import Uploads
    from extend_provider.hooks.extend import ExtendHook

#: Extend's reason for a file above its size limit; also used if only the HTTP status says so.
FILE_TOO_LARGE = "FILE_SIZE_TOO_LARGE"
CONTENT_TOO_LARGE = 413


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """A document with its status right before it is sent.

    :param version_id: the version to read, if its store keeps versions.
    :param policy: see :class:`~extend_pipeline.sources.Found`.
    """

    document: Document
    version_id: str | None = None
    policy: str = ""


def check_objects(stores: Stores, documents: Sequence[Document]) -> list[Checked]:
    """Check each document's object again; return the documents with their status, in order.

    The tag shows whether an object was replaced. In a bucket that keeps versions, each one is found out too,
    so Extend reads exactly what was checked even if the object is replaced meanwhile.
    """
    places = [Located.of(document.uri) for document in documents]
    seen = stores.look_up(places, [document.last_modified for document in documents])
    return list(map(_checked, documents, seen))


def _checked(document: Document, seen: Seen) -> Checked:
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
    if seen.archived:
        return _ended(document, "SKIPPED", OBJECT_ARCHIVED, ARCHIVED_MESSAGE)
    return Checked(document, seen.version, seen.policy)


def check_readable(checked: Sequence[Checked], conn_id: str) -> None:
    """Check that at least one object can be read: otherwise credentials or the network are at fault.

    If only some objects, or a chunk's only object, may not be read, each becomes a row with its reason.

    :param conn_id: of the connection that reads them.
    :raises PipelineSourceError: if all of two or more may not be read, or none can be reached.
    """
    there = [item.document for item in checked if item.document.reason != OBJECT_DELETED]
    reasons = {document.reason for document in there}
    if not there or not reasons <= {OBJECT_FORBIDDEN, OBJECT_UNREACHABLE}:
        return
    if len(there) < 2 and OBJECT_UNREACHABLE not in reasons:
        return
    places = sorted({"/".join(document.uri.split("/", 3)[:3]) for document in there})
    detail = "" if OBJECT_UNREACHABLE not in reasons else f" {there[0].message}"
    raise PipelineSourceError(
        f"Not one of {len(there):,} documents in {', '.join(places)} may be read with the connection "
        f"{conn_id!r} any more.{detail} Nothing was sent to Extend. Renew its credentials or their rights; "
        "the next attempt of this task checks again.",
        retryable=True,
    )


def _ended(document: Document, status: DocumentStatus, reason: str, message: str) -> Checked:
    return Checked(dataclasses.replace(document, status=status, reason=reason, message=message))


def check_signing(stores: Stores, documents: Iterable[Document], expires_in: int) -> None:
    """Check that URLs signed now would be valid for so many seconds.

    :raises PipelineInputError: if the credentials of a store expire before.
    """
    for root in {Located.of(document.uri).root for document in documents}:
        stores.of(root).check_signing(expires_in)


def file_inputs(
    stores: Stores,
    checked: Sequence[Checked],
    hook: ExtendHook,
    uploads: Uploads,
    *,
    transfer: Literal["presign", "upload"],
    expires_in: int,
) -> list[FileInput | Document]:
    """Return for each document, in order, its input, or the document with its final status.

    :param uploads: keeps the ids of uploaded files; none is uploaded twice.
    :param transfer: ``presign`` makes URLs that are valid for ``expires_in`` seconds from now; objects in a
        store that cannot sign URLs are uploaded. An upload reads an object only if it still has the content
        whose identity was recorded.
    :raises PipelineSourceError: if Extend refuses all of several files, or a store fails while it is read.
    :raises ExtendError: if Extend refuses something else than a file.
    """

    def signed(item: Checked) -> FileInput | None:
        place = Located.of(item.document.uri)
        url = stores.of(place.root).signed_url(place, item.version_id, expires_in)
        return None if url is None else FileInput(url=url, name=item.document.name)

    # Signing needs no network, so threads would not help.
    files = [signed(item) if transfer == "presign" else None for item in checked]
    to_upload = [item for item, file in zip(checked, files, strict=True) if file is None]
    uploaded = iter(_upload_all(stores, to_upload, hook, uploads))
    return [next(uploaded) if file is None else file for file in files]


def _upload_all(
    stores: Stores, items: Sequence[Checked], hook: ExtendHook, uploads: Uploads
) -> list[FileInput | Document]:
    if not items:
        return []

    def upload(item: Checked) -> FileInput | _Refused | Document:
        document = item.document
        file_id = uploads.known(document.id)
        if file_id is None:
            sent = _upload(stores, item, hook)
            if not isinstance(sent, StoredFile):
                return sent
            file_id = sent.id
            uploads.add(document.id, file_id)
        return FileInput(file_id=file_id, name=document.name)

    hook.get_conn()  # one session for all threads
    with uploads:
        pool = concurrent.futures.ThreadPoolExecutor(LOOK_UPS)
        try:
            futures = [pool.submit(upload, item) for item in items]
            # An error that is not a document's own would fail the other uploads as well.
            concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_EXCEPTION)
        finally:
            pool.shutdown(cancel_futures=True)
    broken = [future for future in futures if not future.cancelled() and future.exception()]
    results = [future.result() for future in broken or futures]
    refused = [result for result in results if isinstance(result, _Refused)]
    if len(refused) == len(items) > 1 and not all(each.of_the_file for each in refused):
        raise PipelineSourceError(
            f"Extend refuses all of {len(items):,} files, the first one for this reason: "
            f"{refused[0].document.message} No batch was sent, and no document has ended. Correct what they "
            "have in common, then clear this task."
        )
    return [result.document if isinstance(result, _Refused) else result for result in results]


@dataclasses.dataclass(frozen=True, slots=True)
class _Refused:
    """A document whose file Extend refuses, and whether it refuses it for the file itself."""

    document: Document
    of_the_file: bool


def _upload(stores: Stores, item: Checked, hook: ExtendHook) -> StoredFile | _Refused | Document:
    """Upload one object; a problem of this object alone ends its document."""
    document, place = item.document, Located.of(item.document.uri)
    try:
        with stores.of(place.root).read(place, document.etag, item.version_id) as content:
            return hook.upload_file(document.name, content)
    except UnreadableError as error:
        return _ended(document, error.status, error.reason, str(error)).document
    except ObjectChangedError:
        now = _checked(document, stores.of(place.root).look_up(place)).document
        if now.status is None:
            raise
        return now
    except ExtendBadRequestError as error:
        if error.retryable:
            raise
        return _refused(document, error)


def _refused(document: Document, error: ExtendBadRequestError) -> _Refused:
    reason = FILE_TOO_LARGE if error.status == CONTENT_TOO_LARGE else reason_of(error)
    message = f"Extend refused the file at upload: {error.said or error.message}"
    return _Refused(_ended(document, "FAILED", reason, message).document, reason in FILE_REASONS)


@dataclasses.dataclass(frozen=True, slots=True)
class Sending:
    """Documents that are about to be sent.

    :param documents: all of the chunk; those that are not sent have a status.
    :param inputs: of the other documents, in their order.
    :param refused: documents that Extend has refused so far, by id.
    """

    documents: Sequence[Document]
    inputs: Sequence[BatchInput]
    refused: Mapping[str, RefusedInput] = dataclasses.field(default_factory=dict)

    def without(self, refused: Sequence[RefusedInput]) -> Sending:
        """Return what is left to send; the refused documents are FAILED.

        :raises PipelineSourceError: if Extend refuses all of several for other reasons than the files
            themselves: then a setting is at fault.
        """
        to_send = [document for document in self.documents if document.status is None]
        by_id = {**self.refused, **{to_send[each.index].id: each for each in refused}}
        left = Sending(
            [_with_refusal(document, by_id.get(document.id)) for document in self.documents],
            [each for each, document in zip(self.inputs, to_send, strict=True) if document.id not in by_id],
            by_id,
        )
        if not left.inputs and len(by_id) > 1 and not all(each.is_of_the_file for each in by_id.values()):
            raise PipelineSourceError(
                f"Extend refuses all of {len(by_id):,} documents, the last one for this reason: "
                f"{refused[-1].reason}: {refused[-1].message} Nothing was sent, and no document has ended. "
                "Check that Extend can read the objects: rights, allowed networks, how long URLs are valid. "
                "Then clear this task."
            )
        return left


def _with_refusal(document: Document, refused: RefusedInput | None) -> Document:
    if refused is None or document.status is not None:
        return document
    message = f"Extend refused the batch for this document, which was sent without it: {refused.message}"
    return dataclasses.replace(document, status="FAILED", reason=refused.reason, message=message)
