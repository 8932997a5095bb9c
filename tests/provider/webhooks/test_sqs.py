"""A queue of SQS (moto): messages are taken, deleted, come again, and go to the dead letters."""

from __future__ import annotations

import time

import pytest

from extend_provider.webhooks.sqs import Message, SqsQueue, region_of
from fixtures.sources.sqs import Sqs


@pytest.fixture
def url(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_QUEUE", sqs.connection_json())
    return sqs.queue(VisibilityTimeout=600)


def test_a_message_comes_with_what_it_was_sent_with(sqs: Sqs, url: str) -> None:
    before = time.time()
    sent = sqs.send(url, "a body", {"kind": "test"})
    (message,) = SqsQueue(url, "aws_queue").receive()
    assert (message.id, message.body, message.attributes) == (sent, "a body", {"kind": "test"})
    assert message.receptions == 1
    assert before - 2 < message.sent_at < time.time() + 2
    assert "a body" not in repr(message)


def test_nothing_comes_from_an_empty_queue(url: str) -> None:
    assert SqsQueue(url, "aws_queue").receive(wait_seconds=1) == []


def test_a_message_that_is_taken_is_hidden_and_one_that_is_deleted_is_gone(sqs: Sqs, url: str) -> None:
    queue = SqsQueue(url, "aws_queue")
    for number in range(23):
        sqs.send(url, str(number))
    taken: list[Message] = []
    while messages := queue.receive():
        assert len(messages) <= 10
        taken += messages
    assert sorted(int(message.body) for message in taken) == list(range(23))
    assert sqs.waiting(url) == (0, 23)
    queue.delete(taken)
    queue.delete([])
    assert sqs.waiting(url) == (0, 0)


def test_a_message_that_is_not_deleted_comes_again_and_then_is_a_dead_letter(
    sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_QUEUE", sqs.connection_json())
    url, dead = sqs.queue_with_dead_letters("acme-redriven", receptions=2, VisibilityTimeout=0)
    sqs.send(url, "a body")
    queue = SqsQueue(url, "aws_queue")
    received = [queue.receive() for _ in range(3)]
    assert [[message.receptions for message in messages] for messages in received] == [[1], [2], []]
    assert [message.body for message in SqsQueue(dead, "aws_queue").receive()] == ["a body"]


def test_a_message_that_sqs_does_not_delete_is_named_in_the_log(
    sqs: Sqs, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    sqs.send(url, "a body")
    queue = SqsQueue(url, "aws_queue")
    (message,) = queue.receive()
    stale = Message(message.id, "no receipt", message.body, {}, message.sent_at, 1)
    with caplog.at_level("WARNING"):
        queue.delete([stale])
    assert message.id in caplog.text


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1"),
        ("http://127.0.0.1:5000/1/q", None),
        ("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/q", None),
    ],
)
def test_the_region_is_the_one_of_the_queue(url: str, region: str | None) -> None:
    assert region_of(url) == region
