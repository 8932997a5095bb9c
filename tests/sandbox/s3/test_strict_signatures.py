"""The sandbox's S3 takes signatures as AWS does: through boto3, and by GET of a presigned URL."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from fixtures.sources.presigned import BODY, get, presigned, told
from fixtures.sources.s3 import S3
from sandbox.s3 import client

AWAY = "eu-central-1"


@pytest.fixture
def bucket(s3: S3) -> str:
    s3.put(s3.bucket("near"), "a.pdf", BODY)
    return "near"


@pytest.fixture
def far(s3: S3) -> str:
    name = s3.bucket("far", AWAY)
    client(s3.endpoint_url, AWAY).put_object(Bucket=name, Key="a.pdf", Body=BODY)
    return name


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_signed_url_reads_one_byte(s3: S3, bucket: str, version: str) -> None:
    answer = get(presigned(s3, bucket, signature_version=version))
    assert (answer.status_code, answer.content) == (206, b"c")


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_url_of_another_object_is_refused(s3: S3, bucket: str, version: str) -> None:
    url = presigned(s3, bucket, signature_version=version).replace("a.pdf", "b.pdf")
    assert told(get(url))[:2] == (403, "SignatureDoesNotMatch")


def test_unsigned_parameter_is_refused(s3: S3, bucket: str) -> None:
    assert told(get(presigned(s3, bucket) + "&x-amz-request-payer=requester"))[1] == "SignatureDoesNotMatch"


def test_request_without_signature_is_refused(s3: S3, bucket: str) -> None:
    assert told(get(presigned(s3, bucket).partition("?")[0]))[:2] == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        pytest.param(("other", "sandbox-secret"), "InvalidAccessKeyId", id="unknown key"),
        pytest.param(("sandbox", "other"), "SignatureDoesNotMatch", id="wrong secret"),
    ],
)
def test_wrong_credentials_are_refused(s3: S3, bucket: str, credentials: tuple[str, str], code: str) -> None:
    import boto3
    from botocore.config import Config

    key_id, secret = credentials
    other = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}),
    )
    with pytest.raises(ClientError, match=code):
        other.get_object(Bucket=bucket, Key="a.pdf")


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_expired_url_is_refused(s3: S3, bucket: str, version: str) -> None:
    url = presigned(s3, bucket, expires_in=-1, signature_version=version)
    assert told(get(url)) == (403, "AccessDenied", "Request has expired")


def test_url_valid_for_more_than_a_week_is_refused(s3: S3, bucket: str) -> None:
    assert told(get(presigned(s3, bucket, expires_in=604_801)))[:2] == (
        400,
        "AuthorizationQueryParametersError",
    )


def test_url_signed_for_another_region_is_refused(s3: S3, far: str) -> None:
    answer = get(presigned(s3, far))
    assert told(answer)[:2] == (400, "AuthorizationQueryParametersError")
    assert "the region 'us-east-1' is wrong; expecting 'eu-central-1'" in answer.text
    assert answer.headers["x-amz-bucket-region"] == AWAY
    assert get(presigned(s3, far, AWAY)).status_code == 206


@pytest.mark.parametrize(
    ("redirect", "status", "code"),
    [(False, 400, "AuthorizationHeaderMalformed"), (True, 301, "PermanentRedirect")],
)
def test_request_signed_for_another_region_is_redirected(
    s3: S3, far: str, redirect: bool, status: int, code: str
) -> None:
    s3.rule(far, redirect=redirect)
    assert client(s3.endpoint_url).get_object(Bucket=far, Key="a.pdf")["Body"].read() == BODY  # boto3 follows
    answers: list[tuple[int, str]] = []
    watched = client(s3.endpoint_url)
    watched.meta.events.register_first(
        "needs-retry.s3.GetObject",
        lambda response, **_: (
            answers.append((response[0].status_code, response[1]["Error"]["Code"]))
            if "Error" in response[1]
            else None
        ),
    )
    watched.get_object(Bucket=far, Key="a.pdf")
    assert answers == [(status, code)]


def test_head_of_a_bucket_names_its_region(s3: S3, far: str) -> None:
    answer = client(s3.endpoint_url).head_bucket(Bucket=far)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == AWAY


def test_new_regions_refuse_signature_version_2(s3: S3, far: str) -> None:
    status, code, message = told(get(presigned(s3, far, AWAY, signature_version="s3")))
    assert (status, code) == (400, "InvalidRequest")
    assert message.endswith("Please use AWS4-HMAC-SHA256.")


def test_signature_version_2_is_refused_for_sse_kms(s3: S3, bucket: str) -> None:
    s3.client.put_object(Bucket=bucket, Key="a.pdf", Body=BODY, ServerSideEncryption="aws:kms")
    assert told(get(presigned(s3, bucket, signature_version="s3"))) == (
        400,
        "InvalidArgument",
        "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature "
        "Version 4.",
    )
    assert get(presigned(s3, bucket)).status_code == 206
