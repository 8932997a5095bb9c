"""The sandbox's S3 announces new objects to queues, which answer at the same address."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from fixtures.sources.s3 import S3
from sandbox.s3 import announce, queue_client


def test_a_bucket_announces_objects_below_a_prefix(s3: S3) -> None:
    queue = announce(s3.endpoint_url, "acme-inbox", "arrivals", prefix="in/")
    s3.put("acme-inbox", "in/two words.pdf", b"x")
    s3.put("acme-inbox", "out/b.pdf", b"x")
    answer = queue_client(s3.endpoint_url).receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    test, told = (json.loads(message["Body"]) for message in answer["Messages"])
    assert test["Event"] == "s3:TestEvent"
    assert [record["s3"]["object"]["key"] for record in told["Records"]] == ["in%2Ftwo+words.pdf"]


def test_a_message_that_is_received_too_often_goes_to_the_dead_letters(s3: S3) -> None:
    queue = announce(s3.endpoint_url, "acme-inbox", "arrivals", receptions=2, visibility=0)
    sqs = queue_client(s3.endpoint_url)
    for _ in range(3):
        sqs.receive_message(QueueUrl=queue)
    assert "Messages" in sqs.receive_message(QueueUrl=f"{queue}-dead")


def test_a_queue_needs_a_correct_signature(s3: S3) -> None:
    forger = queue_client(s3.endpoint_url)
    forger._request_signer._credentials.secret_key = "guessed"
    with pytest.raises(ClientError, match="InvalidSignature"):
        forger.create_queue(QueueName="arrivals")
