"""The sandbox's S3 announces new objects to queues, which answer at the same address."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

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


def test_what_many_delete_and_send_at_once_is_deleted_and_sent(s3: S3) -> None:
    """moto alone loses messages and deletions here."""
    sqs = queue_client(s3.endpoint_url)
    queue = sqs.create_queue(QueueName="arrivals")["QueueUrl"]
    old, new = [f"old {number}" for number in range(150)], [f"new {number}" for number in range(150)]

    def send(body: str) -> None:
        sqs.send_message(QueueUrl=queue, MessageBody=body)

    def take(_: int) -> list[str]:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, old))
        sent = pool.map(send, new)
        taken = [body for bodies in pool.map(take, range(100)) for body in bodies]
        list(sent)
    while bodies := take(0):
        taken += bodies
    assert sorted(taken) == sorted(old + new)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
    assert set(answer["Attributes"].values()) == {"0"}


def test_a_queue_needs_a_correct_signature(s3: S3) -> None:
    forger = queue_client(s3.endpoint_url)
    forger._request_signer._credentials.secret_key = "guessed"
    with pytest.raises(ClientError, match="InvalidSignature"):
        forger.create_queue(QueueName="arrivals")
