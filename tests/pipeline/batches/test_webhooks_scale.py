"""A thousand documents with webhooks on, off and half lost: what Extend is asked, and that the same lands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.collection import collect
from extend_pipeline.batches.evidence import inspect
from extend_provider.batch.waiting.polling import Outcome
from extend_provider.hooks.extend import ExtendAsyncHook
from extend_provider.webhooks.inbox.store import Inbox
from fixtures.extend.api import ExtendApi
from fixtures.tasks.triggers import batch_trigger, fire
from fixtures.warehouse.files import contents, land
from fixtures.warehouse.runs import document
from fixtures.webhooks.delivered import LISTING, RUN, Webhooks
from fixtures.webhooks.mailbox import mailbox

DOCUMENTS = [document(number) for number in range(1000)]


class Requests(NamedTuple):
    """What Extend was asked: lists, and runs."""

    lists: int
    runs: int


def asked(api: ExtendApi) -> Requests:
    return Requests(api.requests_to(LISTING), api.requests_to(RUN))


def through(api: ExtendApi, batch_id: str, home: Path) -> tuple[Requests, dict[str, Any]]:
    """Wait for a batch, inspect, collect and land it, as the tasks do; return requests and tables."""
    before = asked(api)
    ended = asyncio.run(fire(batch_trigger(batch_id, len(DOCUMENTS), seconds=240.0, poll_interval=5.0)))
    assert ended.outcome is Outcome.DONE
    assert inspect(ExtendAsyncHook(), batch_id, len(DOCUMENTS)).unsettled == 0
    destination = ObjectStoragePath(f"file://{home}/raw/part-00000.jsonl.gz")
    part = collect(ExtendAsyncHook(), batch_id, DOCUMENTS, destination, expected=len(DOCUMENTS))
    assert part.runs == len(DOCUMENTS)
    after = asked(api)
    land(home / "warehouse.duckdb", part.read_documents(), part.read_lines())
    requests = Requests(after.lists - before.lists, after.runs - before.runs)
    print(f"{home.name}: {requests}")  # noqa: T201  # seen with -s
    return requests, contents(home / "warehouse.duckdb")


@pytest.fixture
def delivered(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A batch at work, whose webhooks are delivered as its runs settle: some twice, some out of order."""
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)
    webhooks.api.configure(
        synthetic=True,
        latency_seconds=0.5,
        webhook_faults=[
            {"kind": "repeat", "fraction": 0.1},
            {"kind": "delay", "seconds": 0.5, "fraction": 0.05},
        ],
    )
    with mailbox(webhooks.inbox) as url:
        webhooks.api.listen(url)
        inputs = [
            {"file": {"text": f"text {number}"}, "metadata": {"document_id": each.id}}
            for number, each in enumerate(DOCUMENTS)
        ]
        yield webhooks.api.submit_batch(inputs)


@pytest.mark.full
def test_a_thousand_documents_land_alike_with_webhooks_on_off_and_half_lost(
    delivered: str, webhooks: Webhooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = {name: tmp_path / name for name in ("on", "half", "off")}
    for home in homes.values():
        home.mkdir()
    started = time.monotonic()
    on, tables = through(webhooks.api, delivered, homes["on"])
    print(f"on: {time.monotonic() - started:.1f} s from the submission")  # noqa: T201
    assert on == Requests(lists=1, runs=0)
    assert len(tables["documents"]) == len(DOCUMENTS)

    # Half of the webhooks are lost: the wait ends by a poll, and only their runs are asked for.
    webhooks.api.webhooks()
    inbox = Inbox(webhooks.address)
    arrived = inbox.arrived(delivered)
    inbox.remove(delivered, [name for run in list(arrived.values())[::2] for name in run.names])
    monkeypatch.setattr("extend_provider.batch.waiting.watching.FIRST_SILENCE", 0.2)
    half, half_tables = through(webhooks.api, delivered, homes["half"])
    assert half == Requests(lists=3, runs=len(DOCUMENTS) // 2)
    assert half_tables == tables

    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", webhooks.api.connection_json())
    off, off_tables = through(webhooks.api, delivered, homes["off"])
    assert off == Requests(lists=3, runs=len(DOCUMENTS))
    assert off_tables == tables
