"""Discover: from addresses in S3 to documents, one page of the listing at a time."""

from __future__ import annotations

import datetime as dt
import fnmatch
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from extend_pipeline.documents import (
    EMPTY_FILE,
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    UNSUPPORTED_FILE_TYPE,
    Document,
)
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Settings, SourceItem
from extend_provider.file_types import is_supported

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from types_boto3_s3.client import S3Client

    from extend_pipeline.warehouse import Warehouse

log = logging.getLogger(__name__)

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_FORBIDDEN = frozenset({"403", "AccessDenied", "Forbidden", "AllAccessDisabled"})


def error_code(error: ClientError) -> str:
    """Return S3's own code of an error, e.g. ``NoSuchBucket``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_absent(error: ClientError) -> bool:
    """Whether S3 said that there is no such object."""
    return error_code(error) in _ABSENT


def is_forbidden(error: ClientError) -> bool:
    """Whether S3 said that the credentials do not allow it."""
    return error_code(error) in _FORBIDDEN


def discover(client: S3Client, settings: Settings) -> Iterator[Document]:
    """Yield the documents that the settings' source holds, each with the reason if it will not be sent.

    Folder markers (keys that end in ``/``), and objects outside the glob or the window of modification, are
    not documents of this run and are left out. An object that two addresses cover is yielded once.

    :raises PipelineInputError: if a bucket does not exist or may not be read.
    """
    for number, item in enumerate(settings.source):
        earlier = settings.source[:number]
        if item.is_prefix:
            yield from _list_prefix(client, item, earlier, settings)
        elif not any(other.covers(item.bucket, item.key) for other in earlier):
            yield from _look_up(client, item, settings)


def failed_before(warehouse: Warehouse, settings: Settings) -> Iterator[Document]:
    """Yield what was sent to the settings' workflow and version before and failed, or was cancelled.

    Without a source it is all of that; with one, what the source covers. Whether the objects are still there
    is seen when they are sent.
    """
    for letter in warehouse.dead_letters(workflow_id=settings.workflow_id, version=settings.version):
        document = letter.document
        bucket, _, key = document.uri.removeprefix("s3://").partition("/")
        modified = dt.datetime.fromisoformat(document.last_modified)
        for item in settings.source or (SourceItem(bucket, "", is_prefix=True),):
            if item.covers(bucket, key) and is_wanted(key, modified, item, settings):
                yield document
                break


def screen(uri: str, entry: Mapping[str, Any]) -> Document:
    """Make a document of a listed object, deciding whether it can be sent at all.

    :param entry: ``ETag``, ``LastModified`` and ``Size`` (bytes) as S3 lists them.
    """
    size = int(entry["Size"])
    facts: dict[str, Any] = {
        "uri": uri,
        "etag": str(entry["ETag"]).strip('"'),
        "size_bytes": size,
        "last_modified": entry["LastModified"].astimezone(dt.UTC).isoformat(),
    }
    name = uri.rsplit("/", 1)[-1]
    if not is_supported(name):
        suffix = name.rpartition(".")[2] if "." in name else "none"
        return Document(
            **facts,
            status="SKIPPED",
            reason=UNSUPPORTED_FILE_TYPE,
            message=f"Extend does not read files of this type (extension: {suffix}).",
        )
    if size == 0:
        return Document(**facts, status="SKIPPED", reason=EMPTY_FILE, message="The object holds no bytes.")
    return Document(**facts)


def is_wanted(key: str, modified: dt.datetime, item: SourceItem, settings: Settings) -> bool:
    """Whether an object belongs to this run: named itself, or listed, no folder marker, in glob and window.

    The glob is matched against what follows the prefix; ``*`` also crosses ``/``. The window holds its
    beginning and not its end, so that adjoining windows share no object.
    """
    if key.endswith("/"):
        return False
    if not item.is_prefix:
        return True
    if settings.glob and not fnmatch.fnmatchcase(key[len(item.key) :].lstrip("/"), settings.glob):
        return False
    after = settings.modified_from is None or modified >= _aware(settings.modified_from)
    before = settings.modified_to is None or modified < _aware(settings.modified_to)
    return after and before


def _aware(moment: dt.datetime) -> dt.datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _list_prefix(
    client: S3Client, item: SourceItem, earlier: Sequence[SourceItem], settings: Settings
) -> Iterator[Document]:
    for entry in _entries(client, item, settings.aws_conn_id):
        key, modified = entry["Key"], entry["LastModified"]
        known = any(
            other.covers(item.bucket, key) and is_wanted(key, modified, other, settings) for other in earlier
        )
        if not known and is_wanted(key, modified, item, settings):
            yield screen(f"s3://{item.bucket}/{entry['Key']}", entry)


def _entries(client: S3Client, item: SourceItem, aws_conn_id: str) -> Iterable[Mapping[str, Any]]:
    from botocore.exceptions import ClientError

    pages = client.get_paginator("list_objects_v2").paginate(Bucket=item.bucket, Prefix=item.key)
    try:
        for page in pages:
            yield from page.get("Contents", ())
    except ClientError as error:
        raise _unreadable(item, aws_conn_id, error) or error from None


def _look_up(client: S3Client, item: SourceItem, settings: Settings) -> Iterator[Document]:
    from botocore.exceptions import ClientError

    try:
        head = client.head_object(Bucket=item.bucket, Key=item.key)
    except ClientError as error:
        if is_absent(error):
            yield unreadable_document(
                item.uri,
                OBJECT_DELETED,
                "There is no object at this address; a prefix to be listed ends in '/'.",
            )
        elif is_forbidden(error):
            yield unreadable_document(
                item.uri,
                OBJECT_FORBIDDEN,
                f"The connection {settings.aws_conn_id!r} may not read this object.",
            )
        else:
            raise
    else:
        yield screen(item.uri, {**head, "Size": head["ContentLength"]})


def unreadable_document(uri: str, reason: str, message: str) -> Document:
    """Make the document of an address at which nothing could be read."""
    return Document(
        uri=uri, etag="", size_bytes=0, last_modified="", status="FAILED", reason=reason, message=message
    )


def _unreadable(item: SourceItem, aws_conn_id: str, error: ClientError) -> PipelineInputError | None:
    if error_code(error) == "NoSuchBucket":
        what = "does not exist"
    elif is_forbidden(error):
        what = "may not be listed with these credentials"
    elif error_code(error) in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
        what = f"could not be listed, because S3 refused the credentials ({error_code(error)})"
    else:
        return None
    return PipelineInputError(
        f"The bucket {item.bucket!r} {what}. Nothing was sent to Extend. "
        f"Check the address {item.uri!r} and the connection {aws_conn_id!r}."
    )
