"""From the queue into the workspace: nothing is lost whatever dies in between, and nothing goes round."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.arrivals import intake
from extend_pipeline.arrivals.bundling import Bundle
from extend_pipeline.arrivals.intake import Intake
from extend_pipeline.arrivals.manifests import Bundles
from extend_provider.webhooks.sqs import SqsQueue
from fixtures.airflow.waiting import eventually
from fixtures.sources.arrivals import Inbox

log = logging.getLogger("test.intake")


class KilledError(BaseException):
    """The process is gone at this moment."""


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_PAUSE", 0.0)


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(f"file://{tmp_path}/workspace", "inbox")


def reader(inbox: Inbox, bundles: Bundles, **options: Any) -> Intake:
    return Intake(SqsQueue(inbox.url), bundles, lambda place: None, log, **options)


def addresses(bundles: Bundles, *written: Bundle | None) -> list[str]:
    found = [bundle for bundle in written if bundle] or bundles.waiting()
    return [place.uri for bundle in found for place in bundles.places(bundle.name)]


def test_what_s3_announces_is_in_a_bundle_and_not_in_the_queue(inbox: Inbox, bundles: Bundles) -> None:
    put = inbox.put("in/two words.pdf", "in/a+b.pdf", "in/Ü/№ 7.pdf", *(f"in/{n}.pdf" for n in range(20)))
    bundle = reader(inbox, bundles).step(1)
    assert bundle is not None
    assert bundle.documents == len(put)
    assert sorted(addresses(bundles, bundle)) == sorted(put)
    assert inbox.waiting() == (0, 0)
    assert reader(inbox, bundles).step(0) is None


def test_a_message_that_tells_of_nothing_new_is_deleted_without_a_bundle(
    inbox: Inbox, bundles: Bundles, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.sqs.send(inbox.url, json.dumps({"Event": "s3:TestEvent", "Bucket": inbox.bucket}))
    inbox.tell("in/")
    with caplog.at_level("INFO"):
        assert reader(inbox, bundles).step(1) is None
    assert inbox.waiting() == (0, 0)
    assert f"s3:TestEvent, folder s3://{inbox.bucket}/in/" in caplog.text


def test_an_object_outside_of_the_filter_is_deleted_and_named(
    inbox: Inbox, bundles: Bundles, caplog: pytest.LogCaptureFixture
) -> None:
    kept, *others = inbox.put("in/a.pdf", *(f"out/{number}.pdf" for number in range(7)))
    subject = Intake(
        SqsQueue(inbox.url), bundles, lambda place: "elsewhere" if "out/" in place.key else None, log
    )
    with caplog.at_level("INFO"):
        assert addresses(bundles, subject.step(1)) == [kept]
    assert inbox.waiting() == (0, 0)
    assert "Left out (elsewhere)" in caplog.text
    assert "and 2 more" in caplog.text
    assert sum(uri in caplog.text for uri in others) == 5


@pytest.mark.parametrize("moment", ["write", "delete", "after"])
def test_whenever_the_poller_dies_every_document_is_found_again(
    inbox: Inbox, bundles: Bundles, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def die(*_: Any) -> None:
        raise KilledError

    put = inbox.put("in/a.pdf", "in/b.pdf")
    with monkeypatch.context() as patched:
        if moment == "write":  # between the receipt and the writing
            patched.setattr(bundles, "write", die)
        elif moment == "delete":  # between the writing and the deletion
            patched.setattr(SqsQueue, "delete", die)
        else:  # between the deletion and the announcement
            patched.setattr(Intake, "_say", die)
        with pytest.raises(KilledError):
            reader(inbox, bundles).step(1)
    in_queue = set() if moment == "after" else set(put)
    in_workspace = set() if moment == "write" else set(put)
    assert set(addresses(bundles)) == in_workspace
    assert (inbox.waiting() == (0, 0)) == (not in_queue)

    again = reader(inbox, bundles)
    eventually(
        lambda: (again.step(1), set(addresses(bundles)) == set(put), inbox.waiting())[1:], (True, (0, 0))
    )


def test_two_pollers_at_once_lose_nothing(inbox: Inbox, bundles: Bundles) -> None:
    put = inbox.put(*(f"in/{number}.pdf" for number in range(60)))

    def drain(_: int) -> None:
        subject = reader(inbox, bundles)
        while subject.step(1):
            pass

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(drain, range(2)))
    assert set(addresses(bundles)) == set(put)
    assert inbox.waiting() == (0, 0)


def test_a_flood_is_taken_in_pieces_of_a_bounded_size(
    inbox: Inbox, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_DOCUMENTS", 20)
    inbox.put(*(f"in/{number}.pdf" for number in range(45)))
    subject = reader(inbox, bundles)
    sizes = [bundle.documents for _ in range(4) if (bundle := subject.step(1))]
    assert sizes == [20, 20, 5]


def test_a_step_ends_before_its_messages_come_again(
    inbox: Inbox, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_SECONDS", 0.0)
    inbox.put(*(f"in/{number}.pdf" for number in range(15)))
    bundle = reader(inbox, bundles).step(1)
    assert bundle is not None
    assert bundle.documents == 10  # one page of the queue


FOREIGN = ["no JSON", json.dumps({"alarm": "high"}), json.dumps({"Records": [{"eventSource": "aws:ses"}]})]


def test_what_cannot_be_read_goes_to_the_dead_letters_and_holds_up_nothing(
    inbox: Inbox, bundles: Bundles, caplog: pytest.LogCaptureFixture
) -> None:
    sent = [inbox.sqs.send(inbox.url, body) for body in FOREIGN]
    (put,) = inbox.put("in/a.pdf")
    subject = reader(inbox, bundles)
    eventually(lambda: (subject.step(1), inbox.waiting())[1], (0, 0))
    assert addresses(bundles) == [put]
    assert sum(inbox.sqs.waiting(inbox.dead)) == len(FOREIGN)
    for message_id in sent:
        assert caplog.text.count(f"The message {message_id} cannot be read") == 1
    assert "high" not in caplog.text
    assert "redrive" not in caplog.text


def test_without_dead_letters_what_cannot_be_read_is_hidden_and_said_once(
    inbox: Inbox, bundles: Bundles, caplog: pytest.LogCaptureFixture
) -> None:
    url = inbox.sqs.queue("without-dead-letters", VisibilityTimeout=0)
    subject = Intake(SqsQueue(url), bundles, lambda place: None, log)
    for number in range(3):
        inbox.sqs.send(url, f"foreign {number}")
        subject.step(0)
    assert inbox.sqs.waiting(url) == (0, 3)
    assert caplog.text.count("no redrive policy") == 1
    assert caplog.text.count("cannot be read") - caplog.text.count("that cannot be read") == 3


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counts: list[int] = []
    receive = SqsQueue.receive

    def counted(self: SqsQueue, *arguments: Any) -> Any:
        page = receive(self, *arguments)
        counts.append(len(page))
        return page

    monkeypatch.setattr(SqsQueue, "receive", counted)
    return counts


def test_a_message_that_comes_again_at_once_makes_no_loop(
    inbox: Inbox, bundles: Bundles, received: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a dead-letter queue nor the right to hide it."""
    monkeypatch.setattr(intake, "_PAUSE", 0.2)
    monkeypatch.setattr(SqsQueue, "hide", lambda *_: None)
    url = inbox.sqs.queue("without-dead-letters", VisibilityTimeout=0)
    inbox.sqs.send(url, "foreign")
    subject = Intake(SqsQueue(url), bundles, lambda place: None, log)
    began = time.monotonic()
    for _ in range(3):
        subject.step(0)
    assert received == [1, 1, 1]
    assert time.monotonic() - began >= 0.6
