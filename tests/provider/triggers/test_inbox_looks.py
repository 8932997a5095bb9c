"""Looks into the inbox from a triggerer: in threads of their own, and without effect if they fail."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from extend_provider.batch.waiting.polling import Outcome
from extend_provider.triggers.looking import open_waits
from extend_provider.webhooks.inbox.store import Arrived, Inbox
from fixtures.tasks.batch_sensor import submit
from fixtures.tasks.heartbeat import heartbeat
from fixtures.tasks.triggers import batch_trigger, fire
from fixtures.webhooks.delivered import LISTING, Webhooks


@pytest.fixture(autouse=True)
def synthetic(webhooks: Webhooks) -> None:
    webhooks.api.configure(synthetic=True)


async def test_a_slow_store_does_not_block_the_loop(
    webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = submit(2)
    webhooks.deliver(batch_id)
    listed = Inbox.arrived

    def slowly(self: Inbox, batch_id: str | None) -> dict[str, Arrived]:
        time.sleep(0.5)
        return listed(self, batch_id)

    monkeypatch.setattr(Inbox, "arrived", slowly)
    async with heartbeat() as beat:
        ended = await asyncio.gather(*(fire(batch_trigger(batch_id, 2)) for _ in range(6)))
    assert {each.outcome for each in ended} == {Outcome.DONE}
    assert beat.held_up < 0.2  # [triggerer] blocked_main_thread_warning_threshold
    assert webhooks.requests_to(LISTING) == 0
    assert open_waits() == 0


async def test_a_store_that_never_answers_is_left_alone_and_extend_is_polled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("extend_provider.triggers.base.LOOK_SECONDS", 0.2)
    monkeypatch.setattr(Inbox, "arrived", lambda *asked: time.sleep(2))
    started = time.monotonic()
    ended = await fire(batch_trigger(submit(2), 2))
    assert ended.outcome is Outcome.DONE
    assert time.monotonic() - started < 2


async def test_a_wait_that_must_not_end_by_webhooks_polls(webhooks: Webhooks) -> None:
    batch_id = submit(2)
    webhooks.deliver(batch_id)
    trigger = batch_trigger(batch_id, 2, by_webhooks=False)
    assert trigger.serialize()[1]["policy"]["by_webhooks"] is False
    assert (await fire(trigger)).outcome is Outcome.DONE
    assert webhooks.requests_to(LISTING) == 1


async def test_the_deadline_is_kept_although_webhooks_come(webhooks: Webhooks) -> None:
    webhooks.api.configure(hold=True)
    ended: Any = await fire(batch_trigger(submit(2), 2, seconds=0.5))
    assert ended.outcome is Outcome.TIMED_OUT
    assert webhooks.requests_to(LISTING) == 1
