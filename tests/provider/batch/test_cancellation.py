"""Cancelling a batch or single runs, through everything that may be in the way; the emulator judges."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from extend_provider.batch.cancellation import Cancellation, RemoteWork, budget, cancel, cancel_from_worker
from extend_provider.batch.orphans import IdempotencyKey, Orphan
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.client.pacing.retries import Backoff
from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.api import ExtendApi

CANCEL = "POST /workflow_runs/{id}/cancel"


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True, hold=True)


def submit(count: int) -> str:
    inputs = [BatchInput(FileInput(text=f"text {index}", name=f"{index}.txt")) for index in range(count)]
    with ExtendHook() as hook:
        return hook.create_batch("workflow_invoices", inputs)


def batch(count: int) -> RemoteWork:
    return RemoteWork("extend_default", submit(count), count)


def settled(api: ExtendApi, *, at_most: float = 5) -> dict[str, int]:
    """Return the statuses once nothing is CANCELLING any more."""
    deadline = time.monotonic() + at_most
    while "CANCELLING" in (runs := api.stats()["runs"]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return dict(runs)


def counts(outcome: Cancellation) -> tuple[int, int, int]:
    return outcome.cancelled, outcome.settled, outcome.left


async def test_every_run_of_a_batch_is_cancelled_with_one_request_each(extend_api: ExtendApi) -> None:
    told: list[int] = []
    outcome = await cancel(batch(40), on_change=lambda tally: told.append(tally.cancelled))
    assert outcome.complete
    assert str(outcome) == "40 runs cancelled, 0 had settled before."
    assert extend_api.requests_to(CANCEL) == 40
    assert settled(extend_api) == {"CANCELLED": 40}
    assert told == list(range(1, 41))


async def test_a_settled_run_costs_no_request(extend_api: ExtendApi) -> None:
    extend_api.configure(
        hold=False,
        outcomes=[
            {"status": "NEEDS_REVIEW", "name_glob": "0.txt"},
            {"status": "FAILED", "name_glob": "1.txt"},
        ],
    )
    work = batch(3)
    extend_api.runs(str(work.batch_id))
    assert counts(await cancel(work)) == (0, 3, 0)
    assert extend_api.requests_to(CANCEL) == 0


async def test_a_repeated_cancellation_has_nothing_to_do(extend_api: ExtendApi) -> None:
    extend_api.configure(cancelling_seconds=5)
    work = batch(2)
    await cancel(work)
    again = await cancel(work)
    assert (counts(again), again.complete) == ((0, 2, 0), True)
    assert extend_api.requests_to(CANCEL) == 2


async def test_a_run_that_settles_before_its_cancel_request_is_no_failure(
    extend_api: ExtendApi,
) -> None:
    extend_api.configure(cancel_refusal_status=409)
    with ExtendHook() as hook:
        run = hook.create_run("workflow_invoices", FileInput(text="t"))
        gone = hook.create_run("workflow_invoices", FileInput(text="t"))
        hook.delete_run(gone.id)
    extend_api.configure(hold=False)
    while settled(extend_api) != {"PROCESSED": 1}:
        await asyncio.sleep(0.02)
    outcome = await cancel(RemoteWork("extend_default", run_ids=(run.id, gone.id)))
    assert (counts(outcome), outcome.complete) == ((0, 2, 0), True)


async def test_a_cancellation_retries_rate_limits_and_server_faults(extend_api: ExtendApi) -> None:
    work = batch(6)
    faults: Sequence[dict[str, Any]] = [
        {"endpoint": CANCEL, "kind": "rate_limit", "count": 3, "retry_after": 0.1},
        {"endpoint": CANCEL, "kind": "error", "status": 503, "count": 2},
        {"endpoint": CANCEL, "kind": "drop", "accepted": True},
    ]
    extend_api.configure(faults=faults)
    outcome = await cancel(work)
    assert outcome.complete
    # Whose answer was lost had been cancelled all the same, and is found so.
    assert outcome.cancelled + outcome.settled == 6
    assert settled(extend_api) == {"CANCELLED": 6}


async def test_runs_that_are_listed_late_are_cancelled_too(extend_api: ExtendApi) -> None:
    extend_api.configure(listing_lag_seconds=1.5, listing_lag_halves=True, max_page_size=4)
    outcome = await cancel(batch(10))
    assert (outcome.cancelled, outcome.complete) == (10, True)
    assert settled(extend_api) == {"CANCELLED": 10}


async def test_a_final_refusal_is_reported_with_the_command_and_does_not_stop_the_others(
    extend_api: ExtendApi,
) -> None:
    extend_api.configure(hold=False, outcomes=[{"status": "QUARANTINED", "name_glob": "[01].txt"}])
    work = batch(5)
    while settled(extend_api) != {"QUARANTINED": 2, "PROCESSED": 3}:
        await asyncio.sleep(0.02)
    outcome = await cancel(work)
    assert counts(outcome) == (0, 3, 2)
    assert not outcome.complete
    text = str(outcome)
    assert "2 may still be at work" in text
    assert "this one is QUARANTINED" in text
    assert f"airflow extend cancel --batch-id {work.batch_id} --conn-id extend_default" in text


async def test_a_cancellation_ends_at_its_deadline_and_reports_what_is_left(extend_api: ExtendApi) -> None:
    work = batch(5)
    extend_api.configure(
        faults=[
            {"endpoint": CANCEL, "kind": "slow", "seconds": 2, "skip": 2, "count": None, "accepted": False}
        ]
    )
    started = time.monotonic()
    outcome = await cancel(work, seconds=0.8)
    assert time.monotonic() - started < 1.8
    assert counts(outcome) == (2, 0, 3)
    assert "time was up after 0.8 s" in str(outcome)
    await asyncio.sleep(1.5)  # the emulator ends cleanly only without requests in hand


async def test_the_number_of_concurrent_requests_is_bounded(extend_api: ExtendApi) -> None:
    work = batch(12)
    extend_api.configure(faults=[{"endpoint": CANCEL, "kind": "slow", "seconds": 0.3, "count": None}])
    started = time.monotonic()
    assert (await cancel(work, concurrency=3)).complete
    assert time.monotonic() - started > 4 * 0.3


async def test_a_broken_connection_is_reported_not_raised() -> None:
    outcome = await cancel(RemoteWork("no_such_connection", "batch_1"))
    assert not outcome.complete
    assert "no_such_connection" in str(outcome)
    assert "its runs are not known" in str(outcome)


def test_a_worker_cancels_in_any_thread_even_with_a_loop_of_its_own(extend_api: ExtendApi) -> None:
    work = batch(4)

    async def inside_a_loop() -> Cancellation:
        return cancel_from_worker(work, seconds=10)

    assert asyncio.run(inside_a_loop()).complete
    assert settled(extend_api) == {"CANCELLED": 4}


@pytest.fixture
def brief_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hook give up on a request within moments."""
    monkeypatch.setattr(Backoff, "delay", lambda *_, **__: 0.01)


LISTING = "GET /workflow_runs"
#: More failures in a row than the hook has tries for a request.
OUTAGE = {"endpoint": LISTING, "kind": "error", "status": 503, "count": 12}


@pytest.mark.usefixtures("brief_tries")
@pytest.mark.parametrize("skip", [0, 1], ids=["from the start", "within a listing"])
async def test_an_outage_of_the_list_is_retried(skip: int, extend_api: ExtendApi) -> None:
    work = batch(6)
    extend_api.configure(max_page_size=4, faults=[{**OUTAGE, "skip": skip}])
    outcome = await cancel(work)
    assert (counts(outcome), outcome.complete) == ((6, 0, 0), True)
    assert settled(extend_api) == {"CANCELLED": 6}


@pytest.mark.usefixtures("brief_tries")
async def test_a_permanent_outage_uses_the_whole_budget_and_is_reported(extend_api: ExtendApi) -> None:
    work = batch(2)
    extend_api.configure(faults=[{**OUTAGE, "count": None}])
    started = time.monotonic()
    outcome = await cancel(work, seconds=3)
    assert time.monotonic() - started >= 3
    text = str(outcome)
    assert "2 may still be at work: time was up after 3 s; at last: Extend failed to list" in text
    assert text.endswith(work.command)


@pytest.mark.usefixtures("brief_tries")
async def test_a_permanent_error_ends_the_cancellation_at_once(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = batch(2)
    wrong_key = json.dumps({"conn_type": "extend", "host": extend_api.url, "password": "wrong"})
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", wrong_key)
    started = time.monotonic()
    for each in (work, dataclasses.replace(work, batch_id=None, orphan=lost(600))):
        outcome = await cancel(each)
        assert not outcome.complete
        assert "Check the API key" in str(outcome)
    assert time.monotonic() - started < 10


def lost(until: float) -> Orphan:
    """Return what is known of a batch without an id, which is listed within so many seconds from now."""
    now = dt.datetime.now(dt.UTC)
    until_ = (now + dt.timedelta(seconds=until)).isoformat()
    return Orphan("workflow_invoices", IdempotencyKey({"chunk": "this"}), now.isoformat(), until_)


def accept(api: ExtendApi, count: int = 2) -> None:
    api.submit_batch([{"file": {"text": "t"}, "metadata": {"chunk": "this"}}] * count)


@pytest.mark.usefixtures("brief_tries")
async def test_only_a_complete_listing_proves_the_absence_of_a_batch(extend_api: ExtendApi) -> None:
    """The list fails until after the moment from which on it would prove the absence."""
    work = RemoteWork("extend_default", run_count=2, orphan=lost(0.5))
    accept(extend_api)
    extend_api.configure(faults=[{**OUTAGE, "count": 14}])
    outcome = await cancel(work)
    assert (counts(outcome), outcome.complete) == ((2, 0, 0), True)
    assert settled(extend_api) == {"CANCELLED": 2}
    extend_api.configure(faults=[{**OUTAGE, "count": None}])
    outcome = await cancel(dataclasses.replace(work, orphan=lost(0.5)), seconds=3)
    assert not outcome.complete
    assert "it was not found at Extend: time was up after 3 s; at last: Extend failed to list" in str(outcome)


async def test_a_batch_is_searched_for_until_it_is_found_and_cancelled(
    extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.cancellation.CANCEL_SECONDS", 1.5)
    extend_api.configure(listing_lag_seconds=3)
    work = RemoteWork("extend_default", run_count=2, orphan=lost(3.5))
    accept(extend_api)
    assert (await cancel(work)).complete
    assert settled(extend_api) == {"CANCELLED": 2}


def test_the_time_for_the_proof_of_absence_is_added_to_the_budget() -> None:
    orphan = RemoteWork("extend_default", orphan=lost(660))
    assert budget(orphan) == pytest.approx(960, abs=1)
    assert budget(dataclasses.replace(orphan, orphan=lost(-660))) == 300
    assert budget(RemoteWork("extend_default", "batch_1")) == 300
