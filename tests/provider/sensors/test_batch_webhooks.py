"""The sensor with an inbox: webhooks end its wait in each of its ways of waiting; it needs none."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend_provider.exceptions import ExtendBatchError
from extend_provider.sensors.batch import ExtendBatchTimeoutError
from fixtures.sources.s3 import S3
from fixtures.sources.sqs import Sqs
from fixtures.tasks.batch_sensor import MODES, Run, sensor, submit
from fixtures.tasks.task_support import Task
from fixtures.webhooks import deliveries
from fixtures.webhooks.delivered import LISTING, RUN, Webhooks


@pytest.fixture(autouse=True)
def synthetic(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    webhooks.api.configure(synthetic=True)
    monkeypatch.setattr("extend_provider.batch.waiting.watching.SHORTEST_LOOK", 0.05)


def lose_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is minutes in a wait be a moment."""
    monkeypatch.setattr("extend_provider.batch.waiting.watching.FIRST_SILENCE", 0.3)
    monkeypatch.setattr("extend_provider.batch.waiting.watching.DELIVERY_SECONDS", 0.1)


@MODES
def test_a_complete_inbox_ends_the_wait_without_a_request(run: Run, webhooks: Webhooks) -> None:
    webhooks.api.configure(outcomes=[{"status": "FAILED", "name_glob": "0.txt"}])
    batch_id = submit(4)
    webhooks.deliver(batch_id)
    task = Task()
    counts = run(sensor(batch_id, 4), task.attempt())
    assert counts == {
        "summary": "4 of 4 settled, 1 failed",
        "expected": 4,
        "listed": 4,
        "settled": 4,
        "by_status": {"FAILED": 1, "PROCESSED": 3},
    }
    assert task.xcoms["progress"] == counts
    assert task.xcoms["dashboard_url"].startswith("https://")
    assert (webhooks.requests_to(LISTING), webhooks.requests_to(RUN)) == (0, 0)


@MODES
def test_an_inbox_in_s3_does_too(
    run: Run, webhooks: Webhooks, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhooks.address = f"s3://aws_inbox@{s3.bucket('workspace')}/extend/inbox"
    monkeypatch.setenv("AIRFLOW_CONN_AWS_INBOX", s3.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", webhooks.connection_json())
    batch_id = submit(3)
    webhooks.deliver(batch_id)
    assert run(sensor(batch_id, 3), Task().attempt())["settled"] == 3
    assert webhooks.requests_to(LISTING) == 0


@MODES
def test_webhooks_on_a_queue_do_too(
    run: Run, webhooks: Webhooks, sqs: Sqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.webhooks.queue._queues", {})
    url, _ = sqs.queue_with_dead_letters("acme-webhooks", receptions=2, VisibilityTimeout=0)
    queue = {"webhook_queue": url, "webhook_queue_conn_id": "aws_queue", "webhook_secrets": deliveries.SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_QUEUE", sqs.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", webhooks.connection_json(**queue))
    batch_id = submit(3)
    for number, listed in enumerate(webhooks.listed(batch_id)):
        body = deliveries.body(json.loads(webhooks.payload(listed["id"])), f"event_{number}")
        signed = {name: value for name, value in deliveries.headers(body).items() if name.startswith("x-")}
        sqs.send(url, body.decode(), signed)
    assert run(sensor(batch_id, 3), Task().attempt())["settled"] == 3
    assert webhooks.requests_to(LISTING) == 0
    assert sqs.waiting(url) == (0, 0)


@MODES
def test_webhooks_that_never_come_cost_no_more_than_time(
    run: Run, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_soon(monkeypatch)
    counts = run(sensor(submit(3), 3, timeout=3600), Task().attempt())  # not only by the poll at its end
    assert counts["by_status"] == {"PROCESSED": 3}


@MODES
def test_half_of_the_webhooks_lost_is_found_by_polling(
    run: Run, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_soon(monkeypatch)
    batch_id = submit(6)
    webhooks.deliver(batch_id, which=lambda number: number % 2)
    assert run(sensor(batch_id, 6), Task().attempt())["by_status"] == {"PROCESSED": 6}


def a_file_instead(webhooks: Webhooks) -> None:
    webhooks.folder.parent.mkdir(parents=True, exist_ok=True)
    webhooks.folder.write_text("no folder")


def no_such_bucket(webhooks: Webhooks) -> None:
    webhooks.address = "s3://aws_gone@no-such-bucket/inbox"


@MODES
@pytest.mark.parametrize("broken", [a_file_instead, no_such_bucket])
def test_an_inbox_that_cannot_be_read_is_said_and_extend_is_polled(
    run: Run,
    broken: Callable[[Webhooks], None],
    webhooks: Webhooks,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = '{"conn_type": "aws", "extra": {"endpoint_url": "http://127.0.0.1:9", "region_name": "eu-west-1"}}'
    monkeypatch.setenv("AIRFLOW_CONN_AWS_GONE", gone)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    batch_id = submit(3)
    broken(webhooks)
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", webhooks.connection_json())
    assert run(sensor(batch_id, 3), Task().attempt())["by_status"] == {"PROCESSED": 3}
    assert "the inbox of webhooks cannot be read, so Extend is polled" in capsys.readouterr().out


@MODES
def test_a_review_is_waited_for_by_its_webhook(run: Run, webhooks: Webhooks) -> None:
    """The webhook of the review comes after that of the decision, as it may."""
    webhooks.api.configure(outcomes=[{"status": "NEEDS_REVIEW", "name_glob": "0.txt"}])
    batch_id = submit(2)
    (in_review, _) = (run["id"] for run in webhooks.listed(batch_id))
    undecided = webhooks.payload(in_review)
    webhooks.deliver(batch_id, which=lambda number: number == 1)
    webhooks.api.review(in_review, "approve")
    webhooks.put(webhooks.payload(in_review))
    webhooks.put(undecided)
    counts = run(sensor(batch_id, 2, on_needs_review="wait"), Task().attempt())
    assert counts["by_status"] == {"PROCESSED": 2}
    assert webhooks.requests_to(LISTING) == 0


@MODES
def test_a_task_fails_of_a_review_only_if_extend_still_says_so(run: Run, webhooks: Webhooks) -> None:
    """The webhook of the decision is lost."""
    webhooks.api.configure(outcomes=[{"status": "NEEDS_REVIEW", "name_glob": "0.txt"}])
    batch_id = submit(2)
    (in_review, _) = webhooks.deliver(batch_id)
    with pytest.raises(ExtendBatchError, match="1 in review"):
        run(sensor(batch_id, 2, on_needs_review="fail"), Task().attempt())
    webhooks.api.review(in_review, "approve")
    counts = run(sensor(batch_id, 2, on_needs_review="fail"), Task().attempt())
    assert counts["by_status"] == {"PROCESSED": 2}


@MODES
def test_webhooks_of_another_batch_are_no_webhooks_of_this_one(run: Run, webhooks: Webhooks) -> None:
    webhooks.deliver(submit(3))
    webhooks.api.configure(hold=True)
    with pytest.raises(ExtendBatchTimeoutError, match="0 of 3 settled"):
        run(sensor(submit(3), 3, timeout=0.5), Task().attempt())


@MODES
def test_more_webhooks_than_runs_end_no_wait_that_extend_does_not_end(run: Run, webhooks: Webhooks) -> None:
    batch_id = submit(3)
    webhooks.deliver(batch_id)
    webhooks.put(
        webhooks.payload(next(iter(webhooks.listed(batch_id)))["id"]),
        change=lambda run: {**run, "id": "other"},
    )
    assert run(sensor(batch_id, 3), Task().attempt())["settled"] == 3
    assert webhooks.requests_to(LISTING) >= 1


def test_a_wait_ends_when_the_last_webhook_comes(webhooks: Webhooks, tmp_path: Path) -> None:
    """The measure: from the arrival of the last webhook to the end of the wait, deferred."""
    from fixtures.tasks.task_support import run_deferred

    batch_id = submit(20)
    webhooks.deliver(batch_id, which=lambda number: number)
    came: list[float] = []

    def deliver_last() -> None:
        time.sleep(1.0)
        webhooks.deliver(batch_id, which=lambda number: not number)
        came.append(time.monotonic())

    thread = threading.Thread(target=deliver_last)
    thread.start()
    counts: Any = run_deferred(sensor(batch_id, 20, poke_interval=30.0, timeout=60), Task().attempt())
    ended = time.monotonic()
    thread.join()
    assert counts["settled"] == 20
    assert webhooks.requests_to(LISTING) == 0
    assert ended - came[0] < 15, "it would have been a poll after half a minute"
