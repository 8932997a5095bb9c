"""Sweeping the inbox: what is old goes, unless its batch is at work, in whichever round."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import time
from collections.abc import Iterator

import pytest

from extend_pipeline.batches.chunk_state import settings_of
from extend_pipeline.batches.inbox import inbox_of, sweep
from extend_pipeline.batches.reservations import Reservation
from extend_pipeline.warehouse.records import Claim
from fixtures.pipeline.chunk_tasks import Waiting
from fixtures.webhooks import deliveries
from fixtures.webhooks.delivered import Webhooks


def put(webhooks: Webhooks, batch_id: str, *, days: float) -> None:
    """Put a webhook that came so many days ago."""
    webhooks.put(json.dumps(deliveries.run(batchId=batch_id)).encode())
    then = time.time() - days * 86400
    for path in (webhooks.folder / "runs" / batch_id).iterdir():
        os.utime(path, (then, then))


def left(webhooks: Webhooks) -> set[str]:
    return {batch_id for batch_id, _ in webhooks.inbox.batches()}


def test_old_webhooks_go_unless_their_batch_is_at_work_in_any_round(
    waiting: Waiting, webhooks: Webhooks
) -> None:
    first = waiting.execute()
    second = waiting.complete(first)
    assert first["batch_id"] != second["batch_id"]
    settings = settings_of(waiting.chunk)
    chunk = Reservation(key=waiting.chunk["key"], documents=4).to_text()
    claim = Claim(settings.workflow_id, settings.version, "", chunk, dt.datetime.now(dt.UTC), 4)
    other = settings.model_copy(update={"workflow_id": "workflow_other", "version": "3"})
    for batch_id in (first["batch_id"], second["batch_id"], "batch_strange"):
        put(webhooks, batch_id, days=2)
    put(webhooks, "batch_late", days=0.9)

    sweep(webhooks.inbox, other, lambda: [claim])
    assert left(webhooks) == {first["batch_id"], second["batch_id"], "batch_late"}
    sweep(webhooks.inbox, settings, list)
    assert left(webhooks) == {"batch_late"}


def test_claims_are_not_asked_for_without_anything_old(waiting: Waiting, webhooks: Webhooks) -> None:
    put(webhooks, "batch_late", days=0.9)

    def claims() -> Iterator[Claim]:
        pytest.fail("nothing is old")

    sweep(webhooks.inbox, settings_of(waiting.chunk), claims)
    assert left(webhooks) == {"batch_late"}


def test_what_cannot_be_swept_fails_no_run(
    waiting: Waiting, webhooks: Webhooks, caplog: pytest.LogCaptureFixture
) -> None:
    put(webhooks, "batch_old", days=2)

    def claims() -> Iterator[Claim]:
        raise ConnectionError("the warehouse is away")

    with caplog.at_level(logging.WARNING):
        sweep(webhooks.inbox, settings_of(waiting.chunk), claims)
    assert "could not be swept" in caplog.text
    assert left(webhooks) == {"batch_old"}


def test_a_connection_that_cannot_be_read_has_no_inbox(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert inbox_of("no_such_connection") is None
    assert "no_such_connection" in caplog.text
