"""The sandbox's S3 behaves as S3 does where the pipeline depends on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
import requests
from botocore.exceptions import ClientError

from fixtures.sources.s3 import S3

AWKWARD_KEYS = [
    "inbox/two words.txt",
    "inbox/100%.txt",
    "inbox/%2B%20.txt",
    "inbox/a+b.txt",
    "inbox/#1?x=y&z.txt",
    "inbox/Rechnung Müller.txt",
    "inbox/請求書.txt",
    "inbox/ leading and trailing ",
    "inbox/a'b\"c.txt",
]


@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_difficult_key_is_listed_and_read_by_presigned_url(s3: S3, key: str) -> None:
    bucket = s3.bucket()
    s3.put(bucket, key, key.encode())

    listed = s3.client.list_objects_v2(Bucket=bucket)["Contents"]
    answer = requests.get(s3.presigned_url(bucket, key), timeout=10)

    assert [item["Key"] for item in listed] == [key]
    assert answer.content == key.encode()


def test_presigned_url_expires(s3: S3) -> None:
    bucket = s3.bucket()
    s3.put(bucket, "a.txt", b"a")
    lasting, url = (s3.presigned_url(bucket, "a.txt", expires_in=seconds) for seconds in (60, 1))
    time.sleep(2.1)
    answer = requests.get(url, timeout=10)

    assert requests.get(lasting, timeout=10).status_code == 200
    assert answer.status_code == 403
    assert "Request has expired" in answer.text


@pytest.mark.parametrize(
    ("bucket", "code"),
    [("no-such-bucket", "NoSuchBucket"), (S3.forbidden_bucket, "AccessDenied")],
)
def test_missing_and_forbidden_buckets_give_different_errors(s3: S3, bucket: str, code: str) -> None:
    with pytest.raises(ClientError) as caught:
        s3.client.list_objects_v2(Bucket=bucket)

    assert caught.value.response["Error"]["Code"] == code


def test_replaced_object_has_another_etag(s3: S3) -> None:
    bucket = s3.bucket()

    assert s3.put(bucket, "a.txt", b"before") != s3.put(bucket, "a.txt", b"after")


def test_airflow_hook_reaches_s3_through_the_connection(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    monkeypatch.setenv("AIRFLOW_CONN_SANDBOX_S3", s3.connection_json())
    bucket = s3.bucket()
    s3.put(bucket, "inbox/a b.txt", b"content")

    hook = S3Hook(aws_conn_id="sandbox_s3")

    assert hook.list_keys(bucket) == ["inbox/a b.txt"]
    url = hook.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "inbox/a b.txt"}, 60)
    assert url is not None
    assert requests.get(url, timeout=10).content == b"content"


def test_each_test_starts_with_an_empty_s3(s3: S3) -> None:
    s3.bucket("left-behind")
    s3.reset()

    assert s3.client.list_buckets()["Buckets"] == []


def test_sigterm_ends_the_process_and_frees_its_port() -> None:
    server = subprocess.Popen([sys.executable, "-m", "sandbox.s3"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().split()[-1]
    requests.get(url, timeout=10)

    server.send_signal(signal.SIGTERM)

    assert server.wait(timeout=10) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=2)
    assert urlsplit(url).hostname == "127.0.0.1"


def test_connection_names_endpoint_and_region(s3: S3) -> None:
    connection = json.loads(s3.connection_json())

    assert connection["conn_type"] == "aws"
    assert connection["extra"]["endpoint_url"] == s3.endpoint_url


def test_policy_denies_its_actions_until_it_is_deleted(s3: S3) -> None:
    bucket = s3.bucket()
    s3.put(bucket, "locked/before.txt", b"before")
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject"}
    policy = {
        "Version": "2012-10-17",
        "Statement": [{**denied, "Resource": f"arn:aws:s3:::{bucket}/locked/*"}],
    }
    s3.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put(bucket, "locked/now.txt", b"now")
    s3.put(bucket, "open/now.txt", b"now")
    assert s3.client.get_object(Bucket=bucket, Key="locked/before.txt")["Body"].read() == b"before"

    s3.client.delete_bucket_policy(Bucket=bucket)
    s3.put(bucket, "locked/now.txt", b"now")
