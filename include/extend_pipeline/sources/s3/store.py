"""S3 through the AWS connection: listing, looking up, reading by presigned URL.

The tag of an object is its ETag, which stays the same when the same content is uploaded in the same way.
"""

# Imported only where a task opens S3, see sources/__init__.py.
# ruff: noqa: TID253

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from botocore.exceptions import ClientError

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
)
from extend_pipeline.sources.s3.answers import ABSENT, FORBIDDEN, PAYER, REFUSED, Answer
from extend_pipeline.sources.s3.clients import DIRECTORY_BUCKET, S3Clients, read_one_byte
from extend_pipeline.sources.s3.listing import (
    bucket_of,
    headed,
    listed,
    listed_pages,
    objects_page,
    versions_page,
)

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, GetObjectRequestTypeDef

#: Statuses 4xx that say nothing about the object: a timeout, too many requests.
_PASSING = frozenset({408, 429})
#: Seconds for which the URL is valid that reads one byte.
_PROBE_SECONDS = 300

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class S3Store:
    """All buckets that a connection reaches; see :class:`~extend_pipeline.sources.objects.Store`."""

    client: S3Client
    aws_conn_id: str
    hook: S3Hook | None = None
    clients: S3Clients | None = None
    _versioned: dict[str, bool] = dataclasses.field(default_factory=dict)

    @classmethod
    def connect(cls, aws_conn_id: str) -> Self:
        """Open S3 through an Airflow connection."""
        clients = S3Clients.connect(aws_conn_id)
        return cls(clients.plain, aws_conn_id, clients.hook, clients)

    def pages(self, prefix: Located) -> Iterator[list[Found]]:
        """Yield one page of the listing at a time."""
        try:
            for page in listed_pages(self.client, prefix):
                if entries := page.get("Contents"):
                    yield [listed(entry) for entry in entries]
        except ClientError as error:
            raise self._unreadable(prefix, error) or error from None

    def page_from(self, prefix: Located, key: str, newest: str | None) -> ListedPage | None:
        """List one page from a key on; None if the objects have to be looked up one by one.

        In a bucket that keeps versions, that is so unless the policy allows to list them: without its version
        an object could be replaced before Extend reads it.
        """
        bucket, after = bucket_of(prefix), just_before(key)
        if bucket.endswith(DIRECTORY_BUCKET):  # it lists in no order
            return None
        if newest is None or self._keeps_versions(Located(prefix.root, newest)) is False:
            return objects_page(self.client, prefix, after)
        if (page := versions_page(self.client, prefix, after)) is None:
            log.info(
                "The versions in the bucket %r could not be listed (s3:ListBucketVersions), so each object "
                "is checked by a request of its own.",
                bucket,
            )
        return page

    def _keeps_versions(self, place: Located) -> bool | None:
        """Return whether the bucket keeps versions; None if this object is gone or may not be read.

        The head of an object has a version if its bucket kept them when it was written. It is requested
        because that needs no right but ``s3:GetObject``, and because listing versions takes longer. On AWS,
        an older object has the version ``"null"``; elsewhere it may have none.

        :param place: of the object that was written last.
        """
        bucket = bucket_of(place)
        if bucket not in self._versioned:
            try:
                self._versioned[bucket] = "VersionId" in self.client.head_object(Bucket=bucket, Key=place.key)
            except ClientError as error:
                self.check_answer(place, Answer.of(error))
        return self._versioned.get(bucket)

    def look_up(self, place: Located) -> Seen:
        """Request the head of the object.

        :raises PipelineSourceError: if S3 refuses the credentials, or stays too busy.
        """
        try:
            return headed(place.key, self.client.head_object(Bucket=bucket_of(place), Key=place.key))
        except ClientError as error:
            answer = Answer.of(error)
        if answer.code in ABSENT:
            return Absent()
        if answer.code in FORBIDDEN:
            return Forbidden()
        if answer.status == HTTPStatus.BAD_REQUEST:
            answer = self._explained(place) or answer
        self.check_answer(place, answer)
        return Unusable(place.key, OBJECT_FORBIDDEN, answer.refusal())

    def _explained(self, place: Located) -> Answer | None:
        """Return the answer to GET, whose body has the reason; the answer to HEAD has no body."""
        try:
            self.client.get_object(Bucket=bucket_of(place), Key=place.key, Range="bytes=0-0")["Body"].close()
        except ClientError as error:
            return Answer.of(error)
        return None

    def check_answer(self, place: Located, answer: Answer) -> None:
        """Check that an answer is about the object, not about the credentials or a busy S3.

        :raises PipelineSourceError: if it is not.
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
        bucket = bucket_of(place)
        params = {"Bucket": bucket, "Key": place.key}
        if version:
            params["VersionId"] = version
        signer = self.client if self.clients is None else self.clients.signing(bucket)
        return signer.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_in)

    def try_reading(self, place: Located, version: str | None) -> Answer | None:
        """Read one byte as Extend will, by a presigned URL. Return the refusal of S3, or None.

        None also if the object is gone, or if this machine cannot open a presigned URL at all, which says
        nothing about Extend.

        :raises PipelineSourceError: if S3 refuses the credentials, or stays too busy.
        """
        answer = read_one_byte(self.signed_url(place, version, _PROBE_SECONDS), self.client, self.clients)
        if answer is None or answer.code in ABSENT:
            return None
        self.check_answer(place, answer)
        return answer

    def encrypted_by(self, place: Located) -> str:
        """Return the KMS key of an object; empty if S3 does not report it."""
        seen = self.look_up(place)
        return seen.policy if isinstance(seen, Found) else ""

    def check_signing(self, expires_in: int) -> None:
        """Refuse presigned URLs that would outlive the credentials that sign them.

        S3 accepts a presigned URL only as long as its credentials are valid, whatever its own expiry is.
        """
        credentials = None if self.hook is None else self.hook.get_session().get_credentials()
        if credentials is None or not hasattr(credentials, "refresh_needed"):
            return
        credentials.get_frozen_credentials()  # renews them first, if they are due
        if credentials.refresh_needed(refresh_in=expires_in):
            raise PipelineInputError(
                f"expires_in: the credentials of connection {self.aws_conn_id!r} expire within "
                f"{expires_in} seconds, and every presigned URL expires with them. Nothing was sent to "
                "Extend. Shorten expires_in, use credentials that live longer, or set transfer='upload'."
            )

    def read(self, place: Located, found_tag: str, version: str | None) -> BinaryIO:
        """Read the object on the condition that it still has this tag."""
        answer = self._get(place, found_tag, version)
        content = Content(
            place.uri,
            answer["ContentLength"],
            cast("Any", answer["Body"]),
            lambda: cast("Any", self._get(place, found_tag, version)["Body"]),
        )
        return cast("BinaryIO", content)

    def _get(self, place: Located, found_tag: str, version: str | None) -> GetObjectOutputTypeDef:
        wanted: GetObjectRequestTypeDef = {"Bucket": bucket_of(place), "Key": place.key, "IfMatch": found_tag}
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
            f"The bucket {bucket_of(prefix)!r} {what}. Nothing was sent to Extend. "
            f"Check the address {prefix.uri!r} and the connection {self.aws_conn_id!r}."
        )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _unread(place: Located, error: ClientError) -> Exception:
    """Return the error for a refusal of S3: one of the object, or one of S3 and the credentials."""
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
        message = "The object is archived and must be restored before it can be read."
        return UnreadableError(OBJECT_ARCHIVED, message, "SKIPPED")
    if code in FORBIDDEN:
        return UnreadableError(OBJECT_FORBIDDEN, "The object may not be read (403), although it is listed.")
    message = str(error.response.get("Error", {}).get("Message", ""))[:200]
    return UnreadableError(OBJECT_FORBIDDEN, f"S3 does not give the object: {code}: {message}".rstrip(": "))
