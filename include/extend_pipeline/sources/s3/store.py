"""S3 through the AWS connection: listing, looking up, reading by presigned URL.

An object's tag is its ETag: the same for the same content however often that is uploaded in the same way.
Who signs for which region is in clients.py, what a refusal means in answers.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from extend_pipeline.documents import OBJECT_ARCHIVED, OBJECT_FORBIDDEN
from extend_pipeline.exceptions import PipelineInputError, PipelineSourceError
from extend_pipeline.sources.contents import Content, UnreadableError, breaking_off
from extend_pipeline.sources.objects import (
    Absent,
    Forbidden,
    Found,
    ListedPage,
    Located,
    ObjectChangedError,
    Seen,
    Unusable,
    just_before,
    told_size,
    told_time,
)
from extend_pipeline.sources.s3.answers import ABSENT, FORBIDDEN, PAYER, REFUSED, Answer
from extend_pipeline.sources.s3.clients import DIRECTORY_BUCKET, S3Clients, read_one_byte

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from botocore.exceptions import ClientError
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, GetObjectRequestTypeDef

#: Statuses that tell nothing of an object: too slow, too many requests.
_PASSING = frozenset({408, 429})
#: Storage classes whose objects have to be restored before they are read.
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_RESTORABLE = _ARCHIVES | {"INTELLIGENT_TIERING"}
#: How long the URL lives by which one byte is read, in seconds.
_PROBE_SECONDS = 300


@dataclasses.dataclass(frozen=True, slots=True)
class S3Store:
    """See :class:`~extend_pipeline.sources.objects.Store`; all buckets that a connection reaches."""

    client: S3Client
    aws_conn_id: str
    hook: S3Hook | None = None
    clients: S3Clients | None = None
    _tells_no_versions: set[str] = dataclasses.field(default_factory=set)

    @classmethod
    def connect(cls, aws_conn_id: str) -> Self:
        """Open S3 through an Airflow connection."""
        clients = S3Clients.connect(aws_conn_id)
        return cls(clients.plain, aws_conn_id, clients.hook, clients)

    def pages(self, prefix: Located) -> Iterator[list[Found]]:
        """Yield one page of the listing at a time."""
        from botocore.exceptions import ClientError

        try:
            for page in self._listed_pages(prefix):
                if entries := page.get("Contents"):
                    yield [_listed(entry) for entry in entries]
        except ClientError as error:
            raise self._unreadable(prefix, error) or error from None

    def _listed_pages(self, prefix: Located, after: str = "") -> Iterator[Mapping[str, Any]]:
        """Yield S3's answers; what is restored is told by S3 alone, and asked of no look-alike twice."""
        from botocore.exceptions import ClientError

        paginator = self.client.get_paginator("list_objects_v2")
        wanted: dict[str, Any] = {"Bucket": _bucket(prefix), "Prefix": prefix.key, "StartAfter": after}
        pages = iter(paginator.paginate(**wanted, OptionalObjectAttributes=["RestoreStatus"]))
        try:
            first = next(pages)
        except ClientError as error:
            if Answer.of(error).status != HTTPStatus.NOT_IMPLEMENTED:
                raise
            yield from paginator.paginate(**wanted)
            return
        yield first
        yield from pages

    def page_from(self, prefix: Located, key: str) -> ListedPage | None:
        """List once, from a key on, with the versions of what is there if the policy allows to list them."""
        from botocore.exceptions import ClientError

        bucket, after = _bucket(prefix), just_before(key)
        if bucket.endswith(DIRECTORY_BUCKET):
            return None
        asked: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix.key}
        if bucket not in self._tells_no_versions:
            with contextlib.suppress(ClientError):
                answer = self.client.list_object_versions(
                    **asked, KeyMarker=after, OptionalObjectAttributes=["RestoreStatus"]
                )
                if (page := _versions_page(answer, after)) is not None:
                    return page
            self._tells_no_versions.add(bucket)
        try:
            first = next(iter(self._listed_pages(prefix, after)))
        except ClientError:
            return None
        return _objects_page(first, after)

    def look_up(self, place: Located) -> Seen:
        """Ask for the object's head.

        :raises PipelineSourceError: if S3 refuses the credentials, or is too busy whenever it is asked.
        """
        from botocore.exceptions import ClientError

        try:
            return _headed(place.key, self.client.head_object(Bucket=_bucket(place), Key=place.key))
        except ClientError as error:
            answer = Answer.of(error)
        if answer.code in ABSENT:
            return Absent()
        if answer.code in FORBIDDEN:
            return Forbidden()
        if answer.status == HTTPStatus.BAD_REQUEST:
            answer = self._spelled_out(place) or answer  # a head has no body that tells why
        self.check_answer(place, answer)
        return Unusable(place.key, OBJECT_FORBIDDEN, answer.refusal())

    def _spelled_out(self, place: Located) -> Answer | None:
        from botocore.exceptions import ClientError

        try:
            self.client.get_object(Bucket=_bucket(place), Key=place.key, Range="bytes=0-0")["Body"].close()
        except ClientError as error:
            return Answer.of(error)
        return None

    def check_answer(self, place: Located, answer: Answer) -> None:
        """See that an answer tells of an object, not of credentials or a busy store.

        :raises PipelineSourceError: if it does not.
        """
        if answer.code not in REFUSED and not answer.is_passing:
            return
        renew = f"Renew the credentials of the connection {self.aws_conn_id!r}. "
        raise PipelineSourceError(
            f"S3 answers {answer.status} {answer.code} for {place.uri!r}. Nothing was sent to Extend. "
            f"{renew if answer.code in REFUSED else ''}The next attempt of this task asks again.",
            status=answer.status,
            retryable=True,
        )

    def signed_url(self, place: Located, version: str | None, expires_in: int) -> str:
        """Return a presigned URL, for the region of the bucket."""
        bucket = _bucket(place)
        params = {"Bucket": bucket, "Key": place.key}
        if version:
            params["VersionId"] = version
        signer = self.client if self.clients is None else self.clients.signing(bucket)
        return signer.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_in)

    def try_reading(self, place: Located, version: str | None) -> Answer | None:
        """Read one byte as Extend will: by a presigned URL and nothing else. Return what S3 refuses it with.

        None as well where the object is gone, or where this machine reaches S3 in no such plain way, which
        says nothing of Extend.

        :raises PipelineSourceError: if S3 refuses the credentials, or is too busy whenever it is asked.
        """
        answer = read_one_byte(self.signed_url(place, version, _PROBE_SECONDS), self.client, self.clients)
        if answer is None or answer.code in ABSENT:
            return None
        self.check_answer(place, answer)
        return answer

    def encrypted_by(self, place: Located) -> str:
        """Return the KMS key of an object, as far as its head tells."""
        seen = self.look_up(place)
        return seen.policy if isinstance(seen, Found) else ""

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
        elif code in FORBIDDEN:
            what = f"may not be listed with these credentials (s3:ListBucket is missing{PAYER})"
        elif code in REFUSED:
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
    if code in ABSENT | {"412", "PreconditionFailed", "NoSuchVersion"}:
        return ObjectChangedError(f"{place.uri} was replaced or deleted while it was read.")
    if code in REFUSED or not 400 <= status < 500 or status in _PASSING:
        return PipelineSourceError(
            f"{place.uri} could not be read: S3 answers {code} (HTTP {status}). Its chunk was not sent to "
            "Extend; the next attempt of this task asks again.",
            status=status or None,
            retryable=True,
        )
    if code == "InvalidObjectState":
        message = "The object is in an archive, from which it has to be restored before it can be read."
        return UnreadableError(OBJECT_ARCHIVED, message, "SKIPPED")
    if code in FORBIDDEN:
        return UnreadableError(OBJECT_FORBIDDEN, "The object may not be read (403), although it is listed.")
    said = str(error.response.get("Error", {}).get("Message", ""))[:200]
    return UnreadableError(OBJECT_FORBIDDEN, f"S3 does not give the object: {code}: {said}".rstrip(": "))


def _tag(entry: Mapping[str, Any]) -> str:
    return str(entry.get("ETag") or "").strip('"')


def _listed(entry: Mapping[str, Any]) -> Found:
    modified = entry.get("LastModified")
    # S3 tells times in UTC; botocore's own zone of that name is slow to convert.
    if modified is not None and not modified.utcoffset():
        modified = modified.replace(tzinfo=dt.UTC)
    archived = entry.get("StorageClass") in _RESTORABLE and _is_archived(entry)
    version = _version(entry)
    return Found(
        entry["Key"], _tag(entry), told_size(entry.get("Size")), told_time(modified), version, archived
    )


def _version(entry: Mapping[str, Any]) -> str | None:
    """Return the version; a bucket that once kept them, and does not now, calls the current one "null"."""
    version = entry.get("VersionId")
    return None if version == "null" else version


def _is_archived(entry: Mapping[str, Any]) -> bool:
    """Whether what is listed has to be restored; of Intelligent-Tiering that is told while it is alone."""
    restore = entry.get("RestoreStatus") or {}
    if restore.get("IsRestoreInProgress"):
        return True
    return entry["StorageClass"] in _ARCHIVES and not restore.get("RestoreExpiryDate")


def _headed(key: str, head: Mapping[str, Any]) -> Found:
    in_archive = head.get("StorageClass") in _ARCHIVES or bool(head.get("ArchiveStatus"))
    return Found(
        key,
        _tag(head),
        told_size(head.get("ContentLength")),
        told_time(head.get("LastModified")),
        _version(head),
        archived=in_archive and 'ongoing-request="false"' not in head.get("Restore", ""),
        policy=head.get("SSEKMSKeyId", ""),
    )


def _versions_page(answer: Mapping[str, Any], after: str) -> ListedPage | None:
    versions = answer.get("Versions", [])
    if any(entry["Key"] <= after for entry in (*versions[:1], *answer.get("DeleteMarkers", [])[:1])):
        return None
    current = {entry["Key"]: _listed(entry) for entry in versions if entry["IsLatest"]}
    return ListedPage(current, answer["NextKeyMarker"] if answer["IsTruncated"] else None)


def _objects_page(answer: Mapping[str, Any], after: str) -> ListedPage | None:
    entries = answer.get("Contents", [])
    if entries and entries[0]["Key"] <= after:
        return None
    found = {entry["Key"]: _listed(entry) for entry in entries}
    return ListedPage(found, entries[-1]["Key"] if entries and answer["IsTruncated"] else None)
