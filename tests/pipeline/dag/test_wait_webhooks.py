"""The wait of a chunk with an inbox: webhooks end each round, and nothing is paid twice on their word."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from extend_pipeline.batches.chunk_state import ChunkRound
from extend_pipeline.batches.inbox import part_note, remove_taken
from fixtures.pipeline.chunk_tasks import Waiting
from fixtures.tasks.task_support import Task, run_on
from fixtures.webhooks.delivered import LISTING, RUN, Webhooks
from fixtures.webhooks.mailbox import mailbox


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)
    monkeypatch.setattr("extend_provider.batch.waiting.watching.SHORTEST_LOOK", 0.1)


@pytest.fixture
def inbox(waiting: Waiting, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> Webhooks:
    """The inbox of the chunk's connection."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT",
        webhooks.connection_json(timeout=2, acceptance_window=2, listing_grace=1),
    )
    return webhooks


@pytest.fixture
def delivering(inbox: Webhooks) -> Iterator[Webhooks]:
    with mailbox(inbox.inbox) as url:
        inbox.api.listen(url, workflow_id="workflow_mixed")
        yield inbox


def trigger_of(waiting: Waiting) -> dict[str, Any]:
    """Start to wait; return the policy of the trigger."""
    with pytest.raises(TaskDeferred) as deferred:
        waiting.operator().execute(waiting.context)
    policy: dict[str, Any] = deferred.value.trigger.serialize()[1]["policy"]
    return policy


def test_every_round_is_ended_by_webhooks_and_collected_without_a_request(
    delivering: Webhooks, waiting: Waiting
) -> None:
    counts = run_on(waiting.operator(), Task().attempt())
    assert counts["by_status"] == {"PROCESSED": 2}
    assert waiting.times_paid() == [1, 1, 2, 2]
    parts = waiting.collect()
    assert [part["runs"] for part in parts] == [4, 2]
    # One list for each round: documents are sent again on Extend's own word.
    assert (delivering.requests_to(LISTING), delivering.requests_to(RUN)) == (2, 0)
    delivering.api.webhooks()
    for part in parts:
        remove_taken(part_note(part["uri"]))
    assert delivering.names() == []


def test_a_failure_that_was_run_again_at_extend_is_not_sent_again(inbox: Webhooks, waiting: Waiting) -> None:
    """All webhooks say that it is over; two of them say so of an attempt that Extend has repeated."""
    inbox.api.configure(outcomes=[])
    batch_id = waiting.submit()
    failed = {"status": "FAILED", "failureReason": "INTERNAL_ERROR", "updatedAt": "2020-01-01T00:00:00Z"}
    inbox.deliver(batch_id, which=lambda number: number < 2, change=lambda run: {**run, **failed})
    inbox.deliver(batch_id, which=lambda number: number >= 2)
    run_on(waiting.operator(), Task().attempt())
    assert waiting.times_paid() == [1, 1, 1, 1]
    assert [part["runs"] for part in waiting.collect()] == [4]


def test_a_wait_that_extends_list_contradicts_goes_on_by_polling(inbox: Webhooks, waiting: Waiting) -> None:
    """The inbox stays complete: looks at it alone would end the wait over and over."""
    inbox.api.configure(hold=True)
    batch_id = waiting.submit()
    early = {"status": "CANCELLED", "updatedAt": "2020-01-01T00:00:00Z"}
    runs = inbox.api.call("GET", "/workflow_runs", params={"batchId": batch_id}).json()["data"]
    for run in runs:
        inbox.put(inbox.payload(run["id"]), change=lambda run: {**run, **early})
    before = inbox.api.requests_to(LISTING)
    wait = waiting.operator()
    wait.timeout, wait.poke_interval = 2.0, 0.5
    started = time.monotonic()
    with pytest.raises(Exception, match="0 of 4 settled"):
        run_on(wait, Task().attempt())
    polls = (time.monotonic() - started) / 0.4
    assert 2 <= inbox.api.requests_to(LISTING) - before <= polls + 3
    assert waiting.times_paid() == [1, 1, 1, 1]


def test_a_round_that_was_inspected_is_polled_at_once_when_it_is_waited_for_again(
    delivering: Webhooks, waiting: Waiting
) -> None:
    """A cleared task: its webhooks have landed, and it would wait for minutes of silence."""
    assert "by_webhooks" not in trigger_of(waiting)
    run_on(waiting.operator(), Task().attempt())
    for part in waiting.collect():
        remove_taken(part_note(part["uri"]))
    assert ChunkRound.first(waiting.chunk).evidence() is not None
    assert trigger_of(waiting)["by_webhooks"] is False
    run_on(waiting.operator(), Task().attempt())
    assert waiting.times_paid() == [1, 1, 2, 2]
