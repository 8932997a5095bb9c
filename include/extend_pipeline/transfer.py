"""Transfer: how a document's bytes get from S3 to Extend, checked at the last moment.

What was listed may be gone, or may be another content, by the time it is sent. Each object is therefore
looked at once more. A deleted one is not sent. Neither is a replaced one: its new content is another
document, which nobody has planned yet, and which the next discovery finds.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from extend_pipeline.discovery import is_absent, is_forbidden
from extend_pipeline.documents import (
    OBJECT_DELETED,
    OBJECT_FORBIDDEN,
    OBJECT_REPLACED,
    Document,
    DocumentStatus,
    document_id,
)
from extend_pipeline.exceptions import PipelineInputError, PipelineSourceError
from extend_provider.models import FileInput

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef

    from extend_provider.hooks.extend import ExtendHook

log = logging.getLogger(__name__)

#: Objects looked at, or uploaded, at the same time.
PARALLEL = 16


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """A document as it stands right before it is sent, and the version to read where S3 keeps them."""

    document: Document
    version_id: str | None = None


def check_objects(client: S3Client, documents: Iterable[Document]) -> Iterator[Checked]:
    """Look at each document's object again; yield it as it stands, in order."""
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        yield from pool.map(lambda document: _check(client, document), documents)


def _check(client: S3Client, document: Document) -> Checked:
    from botocore.exceptions import ClientError

    bucket, key = bucket_and_key(document.uri)
    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if is_absent(error):
            return _ended(document, "FAILED", OBJECT_DELETED, "The object was deleted after its discovery.")
        if is_forbidden(error):
            return _ended(document, "FAILED", OBJECT_FORBIDDEN, "The object may not be read any more.")
        raise
    etag = str(head["ETag"]).strip('"')
    if etag != document.etag:
        now = document_id(document.uri, etag)
        message = (
            f"The object was replaced after its discovery. Its new content, document {now}, is sent by the "
            "next run over this address."
        )
        return _ended(document, "SKIPPED", OBJECT_REPLACED, message)
    # A bucket that once kept versions, and does not now, calls the current one "null".
    return Checked(document, None if head.get("VersionId") == "null" else head.get("VersionId"))


def check_readable(checked: Sequence[Checked], conn_id: str) -> None:
    """See that not every object is kept away: that tells of credentials, not of documents.

    A single one is a document's own affair, and so are some among others that may be read.

    :param conn_id: of the connection that reads them.
    :raises PipelineSourceError: if two or more may not be read, and no other can be.
    """
    forbidden = [item.document for item in checked if item.document.reason == OBJECT_FORBIDDEN]
    there = [item for item in checked if item.document.reason != OBJECT_DELETED]
    if len(forbidden) < 2 or len(forbidden) < len(there):
        return
    places = sorted({"/".join(document.uri.split("/", 3)[:3]) for document in forbidden})
    raise PipelineSourceError(
        f"Not one of {len(forbidden):,} documents in {', '.join(places)} may be read with the connection "
        f"{conn_id!r} any more (403). Nothing was sent to Extend. Renew its credentials or their rights; the "
        "next attempt of this task looks again.",
        retryable=True,
    )


def _ended(document: Document, status: DocumentStatus, reason: str, message: str) -> Checked:
    return Checked(dataclasses.replace(document, status=status, reason=reason, message=message))


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key``; the key is taken as it stands, whatever characters it holds."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def presigned_inputs(client: S3Client, checked: Iterable[Checked], expires_in: int) -> list[FileInput]:
    """Return an input with a presigned URL for each document, valid for ``expires_in`` seconds from now."""
    return [_presigned(client, item, expires_in) for item in checked]


def _presigned(client: S3Client, item: Checked, expires_in: int) -> FileInput:
    bucket, key = bucket_and_key(item.document.uri)
    params = {"Bucket": bucket, "Key": key}
    if item.version_id:
        params["VersionId"] = item.version_id
    url = client.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_in)
    return FileInput(url=url, name=item.document.name)


def uploaded_inputs(client: S3Client, checked: Iterable[Checked], hook: ExtendHook) -> list[FileInput]:
    """Upload each document's content to Extend and return inputs with the files' ids.

    The content is read under the condition that it is still the one whose identity was recorded.
    """

    def upload(item: Checked) -> FileInput:
        bucket, key = bucket_and_key(item.document.uri)
        wanted: GetObjectRequestTypeDef = {"Bucket": bucket, "Key": key, "IfMatch": item.document.etag}
        if item.version_id:
            wanted["VersionId"] = item.version_id
        content = client.get_object(**wanted)["Body"].read()
        return FileInput(file_id=hook.upload_file(item.document.name, content).id, name=item.document.name)

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(upload, checked))


def check_credentials(hook: S3Hook, expires_in: int) -> None:
    """Refuse presigned URLs that would outlive the credentials that sign them.

    S3 honours a presigned URL only as long as its credentials are valid, whatever its own expiry says.

    :raises PipelineInputError: if temporary credentials end before ``expires_in`` seconds have passed.
    """
    credentials = hook.get_session().get_credentials()
    if credentials is None or not hasattr(credentials, "refresh_needed"):
        return
    credentials.get_frozen_credentials()  # renews them first, if they are due
    if credentials.refresh_needed(refresh_in=expires_in):
        raise PipelineInputError(
            f"expires_in: the credentials of connection {hook.aws_conn_id!r} end before {expires_in} seconds "
            "have passed, and every presigned URL ends with them. Nothing was sent to Extend. Shorten "
            "expires_in, use credentials that live longer, or set transfer='upload'."
        )
