"""Webhooks by SQS (moto): verified as the receiver does, at the time that SQS took them."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.client.settings import ExtendSettings, Secret
from extend_provider.webhooks import queue as module
from extend_provider.webhooks.inbox.store import Inbox
from extend_provider.webhooks.intake import Answer, Request, take
from extend_provider.webhooks.queue import (
    MessageError,
    WebhookQueue,
    drain,
    drain_async,
    queue_of,
    request_of,
)
from extend_provider.webhooks.sqs import Message, SqsQueue
from fixtures.sources.sqs import Sqs
from fixtures.webhooks import deliveries


@dataclasses.dataclass
class Place:
    """A queue with its dead letters, and a connection that names it."""

    sqs: Sqs
    url: str
    dead: str
    settings: ExtendSettings

    @property
    def queue(self) -> WebhookQueue:
        """A consumer that may drain again at once, as one of another process may."""
        return WebhookQueue(self.settings, interval=0)

    def send(self, body: bytes, headers: dict[str, str] | None = None, **attributes: str) -> None:
        """Put a webhook on the queue as API Gateway does."""
        sent = deliveries.headers(body) if headers is None else headers
        named = {name: value for name, value in sent.items() if name.startswith("x-extend-")}
        self.sqs.send(self.url, body.decode(), {**named, **attributes})

    def arrived(self) -> dict[str, str]:
        """Return the status of each run of the batch in the inbox."""
        inbox = Inbox.of(self.settings)
        assert inbox is not None
        return {run_id: each.status for run_id, each in inbox.arrived("batch_1").items()}


@pytest.fixture
def place(sqs: Sqs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_QUEUE", sqs.connection_json())
    url, dead = sqs.queue_with_dead_letters("acme-webhooks", receptions=2, VisibilityTimeout=0)
    settings = ExtendSettings(
        "extend_default",
        "https://api.extend.ai",
        Secret("sk_1"),
        webhook_secrets=(Secret(deliveries.SECRET),),
        webhook_inbox=f"file://{tmp_path}/inbox",
        webhook_queue=url,
        webhook_queue_conn_id="aws_queue",
    )
    yield Place(sqs, url, dead, settings)
    module._queues.clear()


def test_a_request_with_its_headers_as_attributes_is_stored_and_deleted(place: Place) -> None:
    place.send(deliveries.body())
    assert place.queue.drain(place.settings) == {"stored": 1}
    assert place.arrived() == {"workflow_run_1": "PROCESSED"}
    assert place.sqs.waiting(place.url) == (0, 0)


def test_a_body_in_base64_and_the_event_of_a_function_are_read_too(place: Place) -> None:
    for number, how in enumerate(("base64", "json", "json in base64")):
        body = deliveries.body(deliveries.run(f"run_{number}", text="ä\u2028 "), f"event_{number}")
        headers = deliveries.headers(body)
        packed = base64.b64encode(body).decode()
        if how == "base64":
            named = {name: value for name, value in headers.items() if name != "Content-Type"}
            place.sqs.send(place.url, packed, {**named, "isBase64Encoded": "true"})
        else:
            is_base64 = how != "json"
            event = {
                "headers": headers,
                "body": packed if is_base64 else body.decode(),
                "isBase64Encoded": is_base64,
            }
            place.sqs.send(place.url, json.dumps({"version": "2.0", **event}))
    assert place.queue.drain(place.settings) == {"stored": 3}
    assert set(place.arrived()) == {"run_0", "run_1", "run_2"}


def test_a_message_that_comes_again_changes_nothing(place: Place) -> None:
    for _ in range(2):
        place.send(deliveries.body())
    assert place.queue.drain(place.settings) == {"stored": 1, "repeated": 1}
    assert place.sqs.waiting(place.url) == (0, 0)


def test_a_message_is_as_old_as_sqs_has_it_however_late_it_is_read(place: Place) -> None:
    """An hour in the queue is no replay; a request that was old when it was put there is one."""
    hour = 3600

    def an_hour_later(request: Request, settings: ExtendSettings) -> Answer:
        # The message's own time counts: the consumer's clock is nowhere asked for.
        assert abs(request.received_at - time.time()) < 60
        return take(request, settings)

    place.send(deliveries.body())
    old = deliveries.body(event_id="event_2")
    place.send(old, deliveries.headers(old, now=time.time() - hour))
    queue = WebhookQueue(place.settings, interval=0, take=an_hour_later)
    assert queue.drain(place.settings) == {"stored": 1, "too_old": 2}


def test_the_window_is_measured_at_the_time_of_the_message() -> None:
    body = deliveries.body()
    sent = 1_795_755_600
    headers = deliveries.headers(body, now=sent)
    for late, received_at in ((0, sent), (200, sent + 200)):
        message = Message("m", "r", body.decode(), headers, sent + late, 1)
        assert request_of(message).received_at == received_at


@pytest.mark.parametrize(
    ("stated", "received_at"),
    [
        ("1795750000000", 1_795_750_000.0),
        ("1795755601000", 1_795_755_600.0),
        ("-99999999", 1_795_755_600.0),
        ("x", 1_795_755_600.0),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_the_time_that_api_gateway_states_counts_if_it_is_before_the_message(
    stated: str, received_at: float, as_json: bool
) -> None:
    headers = deliveries.headers(b"{}")
    event = {"headers": headers, "body": "{}", "requestContext": {"timeEpoch": stated}}
    body, attributes = (json.dumps(event), {}) if as_json else ("{}", {**headers, "requestTimeEpoch": stated})
    request = request_of(Message("m", "r", body, attributes, 1_795_755_600.0, 1))
    assert (request.body, request.received_at) == (b"{}", received_at)


def test_what_cannot_be_taken_ever_goes_to_the_dead_letters_and_not_into_a_loop(place: Place) -> None:
    forged = deliveries.body(event_id="event_2")
    place.send(forged, {**deliveries.headers(forged), "x-extend-request-signature": "0" * 64})
    place.send(b"[]")
    place.sqs.send(place.url, "no webhook at all")
    place.send(deliveries.body())
    place.queue.drain(place.settings)
    assert place.queue.drain(place.settings) == {}
    assert place.sqs.waiting(place.url) == (0, 0)
    assert place.sqs.waiting(place.dead)[0] == 3
    assert place.arrived() == {"workflow_run_1": "PROCESSED"}


def test_dead_letters_that_are_moved_back_are_taken_when_the_secret_is_right(place: Place) -> None:
    """A wrong secret in the connection, noticed after hours: nothing is lost."""
    hours_ago = time.time() - 6 * 3600
    body = deliveries.body()
    headers = deliveries.headers(body, now=hours_ago)
    place.send(body, headers, requestTimeEpoch=str(int(hours_ago * 1000)))
    wrong = dataclasses.replace(place.settings, webhook_secrets=(Secret("wss_wrong"),))
    place.queue.drain(wrong)
    place.queue.drain(wrong)
    (letter,) = SqsQueue(place.dead, "aws_queue").receive()
    place.sqs.send(place.url, letter.body, letter.attributes)  # what a redrive of SQS does
    assert place.queue.drain(place.settings) == {"stored": 1}


def test_a_missing_setting_leaves_the_message(place: Place) -> None:
    place.send(deliveries.body())
    assert set(place.queue.drain(dataclasses.replace(place.settings, webhook_secrets=()))) == {
        "no_webhook_secrets"
    }
    assert place.arrived() == {}
    assert place.sqs.waiting(place.url)[0] + place.sqs.waiting(place.dead)[0] == 1


def test_an_inbox_that_takes_nothing_leaves_the_message(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place.send(deliveries.body())
    broken = dataclasses.replace(place.settings, webhook_inbox=f"file://{tmp_path}/file/inbox")
    assert place.queue.drain(broken) == {"not_writable": 2}
    assert place.sqs.waiting(place.dead)[0] + place.sqs.waiting(place.url)[0] == 1


def test_a_queue_that_is_not_there_raises_nothing_and_says_so(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    gone = dataclasses.replace(place.settings, webhook_queue=f"{place.url}-gone")
    with caplog.at_level("WARNING"):
        drain(gone)
    assert "webhooks cannot be taken" in caplog.text
    assert "extend_default" in caplog.text


def test_all_that_is_on_the_queue_is_drained_at_once(place: Place) -> None:
    entries = []
    for number in range(60):
        body = deliveries.body(deliveries.run(f"run_{number}"), f"event_{number}")
        event = {"headers": deliveries.headers(body), "body": body.decode()}
        entries.append({"Id": str(number), "MessageBody": json.dumps(event)})
    for start in range(0, 60, 10):
        place.sqs.client.send_message_batch(QueueUrl=place.url, Entries=entries[start : start + 10])
    assert place.queue.drain(place.settings).total() == 60
    assert len(place.arrived()) == 60


async def test_all_waits_of_a_process_share_one_drain_every_few_seconds(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = []
    original = SqsQueue.receive

    def counted(self: SqsQueue, *args: Any, **options: Any) -> list[Message]:
        received.append(threading.get_ident())
        return original(self, *args, **options)

    monkeypatch.setattr(SqsQueue, "receive", counted)
    place.send(deliveries.body())
    await asyncio.gather(*(drain_async(place.settings) for _ in range(50)))
    await drain_async(place.settings)
    drain(place.settings)
    assert place.arrived() == {"workflow_run_1": "PROCESSED"}
    assert len(received) == 2  # the message, and that there is no other
    assert threading.get_ident() not in received


async def test_a_connection_without_a_queue_drains_nothing() -> None:
    settings = ExtendSettings("c", "https://api.extend.ai", Secret("sk_1"), webhook_inbox="file:///x")
    assert queue_of(settings) is None
    drain(settings)
    await drain_async(settings)


TEXTS = st.text() | st.sampled_from(
    ["true", '{"headers": {}, "body": ""}', '{"headers": [], "body": 1}', "[" * 9999]
)
NAMES = st.sampled_from(
    ["x-extend-request-signature", "X-Extend-Request-Timestamp", "isBase64Encoded", "requestTimeEpoch"]
)


@given(TEXTS, st.dictionaries(NAMES, TEXTS | st.integers().map(str)))
def test_any_message_is_a_request_or_none(text: str, attributes: dict[str, str]) -> None:
    try:
        request = request_of(Message("m", "r", text, attributes, 1_795_755_600.0, 1))
    except MessageError:
        return
    assert request.received_at <= 1_795_755_600.0
    settings = ExtendSettings(
        "c",
        "https://api.extend.ai",
        Secret("sk_1"),
        webhook_secrets=(Secret(deliveries.SECRET),),
        webhook_inbox="file:///nowhere",
    )
    assert take(request, settings).status == 401
