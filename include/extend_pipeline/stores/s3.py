"""S3 through the AWS connection: long listings in ranges of keys, reading by presigned URL.

An object's tag is its ETag: the same for the same content however often that is uploaded in the same way.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from extend_pipeline.documents import OBJECT_ARCHIVED, OBJECT_FORBIDDEN
from extend_pipeline.exceptions import PipelineInputError, PipelineSourceError
from extend_pipeline.stores.contents import Content, UnreadableError, breaking_off
from extend_pipeline.stores.key_ranges import divide
from extend_pipeline.stores.records import (
    WHOLE,
    Absent,
    Forbidden,
    Found,
    KeyRange,
    Located,
    ObjectChangedError,
)

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.exceptions import ClientError
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, GetObjectRequestTypeDef

_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_FORBIDDEN = frozenset({"403", "AccessDenied", "Forbidden", "AllAccessDisabled"})
_REFUSED = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})
#: Statuses that tell nothing of an object: too slow, too many requests.
_PASSING = frozenset({408, 429})
#: How the names of directory buckets end: they list in no order, and only from the beginning.
_DIRECTORY_BUCKET = "--x-s3"


@dataclasses.dataclass(frozen=True, slots=True)
class S3Store:
    """See :class:`~extend_pipeline.stores.records.Store`; all buckets that a connection reaches."""

    client: S3Client
    aws_conn_id: str
    hook: S3Hook | None = None

    @classmethod
    def connect(cls, aws_conn_id: str) -> Self:
        """Open S3 through an Airflow connection."""
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        hook = S3Hook(aws_conn_id=aws_conn_id)
        return cls(hook.get_conn(), aws_conn_id, hook)

    def pages(self, prefix: Located, keys: KeyRange = WHOLE) -> Iterator[list[Found]]:
        """Yield one page of the listing at a time."""
        from botocore.exceptions import ClientError

        paginator = self.client.get_paginator("list_objects_v2")
        last = keys.after
        try:
            for page in paginator.paginate(Bucket=_bucket(prefix), Prefix=prefix.key, StartAfter=keys.after):
                entries = page.get("Contents")
                if not entries:
                    continue
                if keys != WHOLE and entries[0]["Key"] <= last:
                    raise _unordered(prefix)
                last = entries[-1]["Key"]
                if keys.until is not None and last > keys.until:
                    yield [_listed(entry) for entry in entries if entry["Key"] <= keys.until]
                    return
                yield [_listed(entry) for entry in entries]
        except ClientError as error:
            raise self._unreadable(prefix, error) or error from None

    def can_split(self, prefix: Located) -> bool:
        """Whether the bucket lists in the order of keys."""
        return not _bucket(prefix).endswith(_DIRECTORY_BUCKET)

    def split(self, prefix: Located, after: str) -> list[KeyRange]:
        """Divide by the characters that occur in the keys, see :func:`divide`."""
        from botocore.exceptions import ClientError

        def first_keys(stem: str, position: str) -> list[str]:
            page = self.client.list_objects_v2(
                Bucket=_bucket(prefix), Prefix=stem, StartAfter=position, MaxKeys=2
            )
            return [entry["Key"] for entry in page.get("Contents", ())]

        try:
            return divide(first_keys, prefix.key, after)
        except ClientError as error:
            raise self._unreadable(prefix, error) or error from None

    def look_up(self, place: Located) -> Found | Absent | Forbidden:
        """Ask for the object's head."""
        from botocore.exceptions import ClientError

        try:
            head = self.client.head_object(Bucket=_bucket(place), Key=place.key)
        except ClientError as error:
            if _code(error) in _ABSENT:
                return Absent()
            if _code(error) in _FORBIDDEN:
                return Forbidden()
            raise
        # A bucket that once kept versions, and does not now, calls the current one "null".
        version = None if head.get("VersionId") == "null" else head.get("VersionId")
        return Found(
            place.key,
            _tag(head),
            int(head["ContentLength"]),
            head["LastModified"].astimezone(dt.UTC),
            version,
        )

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> str:
        """Return a presigned URL."""
        params = {"Bucket": _bucket(place), "Key": place.key}
        if version:
            params["VersionId"] = version
        return self.client.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_in)

    def check_signing(self, expires_in: int) -> None:
        """Refuse presigned URLs that would outlive the credentials that sign them.

        S3 honours a presigned URL only as long as its credentials are valid, whatever its own expiry says.
        """
        credentials = None if self.hook is None else self.hook.get_session().get_credentials()
        if credentials is None or not hasattr(credentials, "refresh_needed"):
            return
        credentials.get_frozen_credentials()  # renews them first, if they are due
        if credentials.refresh_needed(refresh_in=expires_in):
            raise PipelineInputError(
                f"expires_in: the credentials of connection {self.aws_conn_id!r} end before {expires_in} "
                "seconds have passed, and every presigned URL ends with them. Nothing was sent to Extend. "
                "Shorten expires_in, use credentials that live longer, or set transfer='upload'."
            )

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Read the object under the condition that it is still the one with this tag."""
        answer = self._get(place, found_tag, version)
        content = Content(
            place.uri,
            answer["ContentLength"],
            cast("Any", answer["Body"]),
            lambda: cast("Any", self._get(place, found_tag, version)["Body"]),
        )
        return cast("BinaryIO", content)

    def _get(self, place: Located, found_tag: str, version: str | None) -> GetObjectOutputTypeDef:
        from botocore.exceptions import ClientError

        wanted: GetObjectRequestTypeDef = {"Bucket": _bucket(place), "Key": place.key, "IfMatch": found_tag}
        if version:
            wanted["VersionId"] = version
        with breaking_off(place.uri):
            try:
                return self.client.get_object(**wanted)
            except ClientError as error:
                raise _unread(place, error) from None

    def _unreadable(self, prefix: Located, error: ClientError) -> PipelineInputError | None:
        code = _code(error)
        if code == "NoSuchBucket":
            what = "does not exist"
        elif code in _FORBIDDEN:
            what = "may not be listed with these credentials"
        elif code in _REFUSED:
            what = f"could not be listed, because S3 refused the credentials ({code})"
        else:
            return None
        return PipelineInputError(
            f"The bucket {_bucket(prefix)!r} {what}. Nothing was sent to Extend. "
            f"Check the address {prefix.uri!r} and the connection {self.aws_conn_id!r}."
        )


def _bucket(place: Located) -> str:
    return place.root.removeprefix("s3://")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _unread(place: Located, error: ClientError) -> Exception:
    """Return what a refusal to give an object says: of the object, or of the store and its credentials."""
    code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _ABSENT | {"412", "PreconditionFailed", "NoSuchVersion"}:
        return ObjectChangedError(f"{place.uri} was replaced or deleted while it was read.")
    if code in _REFUSED or not 400 <= status < 500 or status in _PASSING:
        return PipelineSourceError(
            f"{place.uri} could not be read: S3 answers {code} (HTTP {status}). Its chunk was not sent to "
            "Extend; the next attempt of this task asks again.",
            status=status or None,
            retryable=True,
        )
    if code == "InvalidObjectState":
        message = "The object is in an archive, from which it has to be restored before it can be read."
        return UnreadableError(OBJECT_ARCHIVED, message, "SKIPPED")
    if code in _FORBIDDEN:
        return UnreadableError(OBJECT_FORBIDDEN, "The object may not be read (403), although it is listed.")
    said = str(error.response.get("Error", {}).get("Message", ""))[:200]
    return UnreadableError(OBJECT_FORBIDDEN, f"S3 does not give the object: {code}: {said}".rstrip(": "))


def _tag(entry: Mapping[str, Any]) -> str:
    return str(entry["ETag"]).strip('"')


def _listed(entry: Mapping[str, Any]) -> Found:
    modified = entry["LastModified"]
    # S3 tells times in UTC; botocore's own zone of that name is slow to convert.
    modified = modified.astimezone(dt.UTC) if modified.utcoffset() else modified.replace(tzinfo=dt.UTC)
    return Found(entry["Key"], _tag(entry), entry["Size"], modified)


def _unordered(prefix: Located) -> PipelineInputError:
    return PipelineInputError(
        f"{prefix.uri!r} does not list its keys in order, as S3 does, so its listing cannot be divided. "
        "Nothing was sent to Extend. Set parallel_listings=1."
    )
