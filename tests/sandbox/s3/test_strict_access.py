"""The sandbox's S3 refuses what AWS refuses: each switch through boto3 and by GET of a presigned URL."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from fixtures.sources.presigned import BODY, get, presigned, told
from fixtures.sources.s3 import S3
from sandbox.s3 import client


@pytest.fixture
def bucket(s3: S3) -> str:
    s3.put(s3.bucket("near"), "a.pdf", BODY)
    return "near"


def code_of(call: Any, **how: Any) -> tuple[int, str]:
    """Return the status and code of a call that is refused; (200, "") of one that is not."""
    try:
        call(**how)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    return 200, ""


def impatient(s3: S3) -> Any:
    return client(s3.endpoint_url, retries={"total_max_attempts": 1})


@pytest.mark.parametrize("terse", [False, True])
def test_denied_get_object_gives_403(s3: S3, bucket: str, terse: bool) -> None:
    s3.rule(bucket, deny=["s3:GetObject"], terse=terse)
    assert code_of(s3.client.head_object, Bucket=bucket, Key="a.pdf") == (403, "403")
    status, code, message = told(get(presigned(s3, bucket)))
    assert (status, code) == (403, "AccessDenied")
    assert ("s3:GetObject" in message) != terse


def test_reading_a_version_needs_its_own_permission(s3: S3, bucket: str) -> None:
    s3.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.client.put_object(Bucket=bucket, Key="a.pdf", Body=BODY)["VersionId"]
    s3.rule(bucket, deny=["s3:GetObjectVersion"])
    assert get(presigned(s3, bucket)).status_code == 206
    assert "s3:GetObjectVersion" in told(get(presigned(s3, bucket, VersionId=version)))[2]
    named = {"Bucket": bucket, "Key": "a.pdf", "VersionId": version}
    assert code_of(s3.client.head_object, **named) == (403, "403")


@pytest.mark.parametrize(
    ("own", "denied_for", "status"), [("key-1", None, 403), ("key-1", "key-1", 403), ("key-2", "key-1", 206)]
)
def test_kms_denies_get_but_not_head(
    s3: S3, bucket: str, own: str, denied_for: str | None, status: int
) -> None:
    s3.client.put_object(
        Bucket=bucket, Key="a.pdf", Body=BODY, ServerSideEncryption="aws:kms", SSEKMSKeyId=own
    )
    s3.rule(bucket, deny=["kms:Decrypt"], kms_key_id=denied_for)
    assert s3.client.head_object(Bucket=bucket, Key="a.pdf")["SSEKMSKeyId"] == own
    answer = get(presigned(s3, bucket))
    assert answer.status_code == status
    assert status == 206 or "kms:Decrypt" in told(answer)[2]


def test_rule_applies_only_to_its_prefix(s3: S3, bucket: str) -> None:
    s3.put(bucket, "locked/a.pdf", BODY)
    s3.rule(bucket, "locked/", deny=["s3:GetObject"])
    assert code_of(s3.client.get_object, Bucket=bucket, Key="a.pdf") == (200, "")
    assert code_of(s3.client.get_object, Bucket=bucket, Key="locked/a.pdf") == (403, "AccessDenied")


def test_missing_key_gives_403_without_list_permission(s3: S3, bucket: str) -> None:
    assert code_of(s3.client.head_object, Bucket=bucket, Key="none.pdf") == (404, "404")
    s3.rule(bucket, deny=["s3:ListBucket", "s3:ListBucketVersions"])
    assert code_of(s3.client.head_object, Bucket=bucket, Key="none.pdf") == (403, "403")
    assert code_of(s3.client.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
    assert code_of(s3.client.list_object_versions, Bucket=bucket) == (403, "AccessDenied")
    assert code_of(s3.client.get_object, Bucket=bucket, Key="a.pdf") == (200, "")


def test_object_with_customer_key_gives_400(s3: S3, bucket: str) -> None:
    s3.rule(bucket, sse_c=True)
    assert code_of(s3.client.head_object, Bucket=bucket, Key="a.pdf") == (400, "400")
    assert told(get(presigned(s3, bucket)))[:2] == (400, "InvalidRequest")


@pytest.mark.parametrize("storage", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_object_is_listed_but_not_read_until_restored(s3: S3, bucket: str, storage: str) -> None:
    s3.client.put_object(Bucket=bucket, Key="a.pdf", Body=BODY, StorageClass=storage)
    assert s3.client.head_object(Bucket=bucket, Key="a.pdf")["StorageClass"] == storage
    assert told(get(presigned(s3, bucket)))[:2] == (403, "InvalidObjectState")
    optional = {"Bucket": bucket, "OptionalObjectAttributes": ["RestoreStatus"]}
    assert "RestoreStatus" not in s3.client.list_objects_v2(**optional)["Contents"][0]

    s3.client.restore_object(Bucket=bucket, Key="a.pdf", RestoreRequest={"Days": 1})

    assert get(presigned(s3, bucket)).status_code == 206
    (listed,) = s3.client.list_objects_v2(**optional)["Contents"]
    assert listed["StorageClass"] == storage
    assert listed["RestoreStatus"]["IsRestoreInProgress"] is False
    assert "RestoreExpiryDate" in listed["RestoreStatus"]
    assert "RestoreStatus" not in s3.client.list_objects_v2(Bucket=bucket)["Contents"][0]


def test_archive_tier_is_in_the_head_and_in_listings_during_a_restore(s3: S3, bucket: str) -> None:
    s3.client.put_object(Bucket=bucket, Key="a.pdf", Body=BODY, StorageClass="INTELLIGENT_TIERING")
    optional = {"Bucket": bucket, "OptionalObjectAttributes": ["RestoreStatus"]}
    s3.rule(bucket, archive_tier="ARCHIVE_ACCESS")
    assert s3.client.head_object(Bucket=bucket, Key="a.pdf")["ArchiveStatus"] == "ARCHIVE_ACCESS"
    assert told(get(presigned(s3, bucket)))[:2] == (403, "InvalidObjectState")
    assert "RestoreStatus" not in s3.client.list_objects_v2(**optional)["Contents"][0]
    s3.rule(bucket, restoring=True)
    for entries in ("Contents", "Versions"):
        call = s3.client.list_objects_v2 if entries == "Contents" else s3.client.list_object_versions
        assert call(**optional)[entries][0]["RestoreStatus"] == {"IsRestoreInProgress": True}


def test_request_without_payer_is_refused(s3: S3, bucket: str) -> None:
    s3.rule(bucket, requester_pays=True)
    asked = {"Bucket": bucket, "Key": "a.pdf"}
    assert code_of(s3.client.head_object, **asked) == (403, "403")
    assert code_of(s3.client.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
    assert code_of(s3.client.head_object, **asked, RequestPayer="requester") == (200, "")
    assert told(get(presigned(s3, bucket))) == (403, "AccessDenied", "Access Denied")


def test_expired_credentials_give_their_code_except_for_head(s3: S3, bucket: str) -> None:
    s3.rule(bucket, expired=True)
    assert code_of(s3.client.head_object, Bucket=bucket, Key="a.pdf") == (400, "400")
    assert code_of(s3.client.get_object, Bucket=bucket, Key="a.pdf") == (400, "ExpiredToken")


def test_throttling_refuses_the_set_number_of_requests(s3: S3, bucket: str) -> None:
    s3.rule(bucket, slow_down=2)
    hasty = impatient(s3)
    assert code_of(hasty.get_object, Bucket=bucket, Key="a.pdf") == (503, "SlowDown")
    assert told(get(presigned(s3, bucket)))[:2] == (503, "SlowDown")
    assert code_of(hasty.get_object, Bucket=bucket, Key="a.pdf") == (200, "")


@pytest.mark.parametrize("ignored", [False, True])
def test_lookalike_overwrites_despite_if_none_match(s3: S3, bucket: str, ignored: bool) -> None:
    s3.rule(bucket, ignores_if_none_match=ignored)
    again = {"Bucket": bucket, "Key": "a.pdf", "Body": b"x", "IfNoneMatch": "*"}
    assert code_of(s3.client.put_object, **again) == ((200, "") if ignored else (412, "PreconditionFailed"))


@pytest.mark.parametrize("call", ["list_objects_v2", "list_object_versions"])
@pytest.mark.parametrize("ignored", [False, True])
def test_listing_starts_after_any_text(s3: S3, bucket: str, call: str, ignored: bool) -> None:
    for key in ("b.pdf", "c.pdf", "d.pdf"):
        s3.put(bucket, key, BODY)
    s3.rule(bucket, ignores_start_after=ignored)
    begin = "StartAfter" if call == "list_objects_v2" else "KeyMarker"

    def listed(after: str) -> list[str]:
        answer = getattr(s3.client, call)(Bucket=bucket, **{begin: after})
        return [each["Key"] for each in answer.get("Contents", answer.get("Versions", []))]

    everything = ["a.pdf", "b.pdf", "c.pdf", "d.pdf"]
    assert listed("b.pdf") == (everything if ignored else ["c.pdf", "d.pdf"])
    assert listed("b.pde") == (everything if ignored else ["b.pdf", "c.pdf", "d.pdf"])
    assert listed("0") == everything


def test_lookalike_refuses_a_header(s3: S3, bucket: str) -> None:
    s3.rule(bucket, not_implemented=["x-amz-optional-object-attributes"])
    optional = {"Bucket": bucket, "OptionalObjectAttributes": ["RestoreStatus"]}
    assert code_of(impatient(s3).list_objects_v2, **optional) == (501, "NotImplemented")
    assert code_of(s3.client.list_objects_v2, Bucket=bucket) == (200, "")


def test_requests_are_counted_and_reset_clears_the_rules(s3: S3, bucket: str) -> None:
    s3.requests()
    s3.client.head_object(Bucket=bucket, Key="a.pdf")
    s3.client.list_objects_v2(Bucket=bucket)
    assert s3.requests() == {"HeadObject": 1, "ListObjectsV2": 1}
    s3.rule(bucket, deny=["s3:GetObject"])
    s3.reset()
    s3.put(s3.bucket(bucket), "a.pdf", BODY)
    assert code_of(s3.client.get_object, Bucket=bucket, Key="a.pdf") == (200, "")
