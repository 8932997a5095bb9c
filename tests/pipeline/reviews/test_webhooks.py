"""Decisions that webhooks bring land without a request, and Extend is asked for the others once a day."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.reviews.asking import ask
from extend_pipeline.reviews.decisions import ReviewSettings, ReviewState
from extend_pipeline.reviews.webhooks import ASKED_EVERY, ReviewWebhooks, is_asking_due, note_asked
from extend_pipeline.warehouse.records import LandedRun
from extend_provider.hooks.extend import ExtendAsyncHook
from extend_provider.webhooks.inbox.store import Inbox
from fixtures.warehouse.runs import WORKFLOW, document
from fixtures.webhooks.delivered import RUN, Webhooks

RUNS = 20
NOW = dt.datetime(2026, 11, 27, 6, tzinfo=dt.UTC)


@pytest.fixture
def in_review(webhooks: Webhooks) -> list[LandedRun]:
    """Runs that wait for a reviewer, as they have landed: of two batches, more than one page of them."""
    webhooks.api.configure(outcomes=[{"status": "NEEDS_REVIEW"}])
    found = []
    for half in (range(RUNS // 2), range(RUNS // 2, RUNS)):
        inputs = [
            {
                "file": {"text": f"Invoice number: {number}", "name": f"{number}.txt"},
                "metadata": {"document_id": document(number).id},
            }
            for number in half
        ]
        batch_id = webhooks.api.submit_batch(inputs)
        for number, run in zip(half, webhooks.api.runs(batch_id), strict=True):
            step = run["stepRuns"][0]["result"]["extractRun"]["id"]
            place = (batch_id, WORKFLOW, None, "", "raw/1", None, None, None)
            found.append(LandedRun(document(number), run["id"], *place, (step,)))
    return found


class Asked(NamedTuple):
    """What came of a look: states, runs taken, requests for a run, and what was used of the inbox."""

    states: Counter[ReviewState]
    taken: list[str]
    requests: int
    webhooks: ReviewWebhooks


def asked(webhooks: Webhooks, runs: list[LandedRun], *, asks_for_all: bool = False) -> Asked:
    taken, seen = list[str](), ReviewWebhooks(webhooks.inbox)
    before = webhooks.api.requests_to(RUN)
    states = ask(
        ExtendAsyncHook(),
        runs,
        take=lambda run, line: taken.append(run.run_id),
        deleted=lambda run: None,
        webhooks=seen,
        asks_for_all=asks_for_all,
    )
    return Asked(states, taken, webhooks.api.requests_to(RUN) - before, seen)


def decide(webhooks: Webhooks, run: LandedRun, *, lost: bool = False) -> str:
    webhooks.api.review(run.run_id, "approve")
    if not lost:
        webhooks.put(webhooks.payload(run.run_id))
    return run.run_id


def test_decisions_are_taken_from_webhooks_in_order_without_a_request(
    webhooks: Webhooks, in_review: list[LandedRun]
) -> None:
    decided = [decide(webhooks, in_review[number]) for number in (3, 4, 17)]
    found = asked(webhooks, in_review)
    assert found.states == {ReviewState.DECIDED: 3, ReviewState.WAITING: 17}
    assert (found.taken, found.requests) == (decided, 0)
    assert [(each.batch_id, len(each.names)) for each in found.webhooks.taken] == [
        (in_review[3].batch_id, 2),
        (in_review[17].batch_id, 1),
    ]


def test_a_lost_webhook_costs_a_day_and_no_decision(webhooks: Webhooks, in_review: list[LandedRun]) -> None:
    by_webhook = decide(webhooks, in_review[3])
    lost = decide(webhooks, in_review[9], lost=True)
    found = asked(webhooks, in_review)
    assert (found.taken, found.requests) == ([by_webhook], 0)
    found = asked(webhooks, in_review, asks_for_all=True)
    assert (found.taken, found.requests) == ([by_webhook, lost], RUNS - 1)


def test_the_webhook_of_the_review_itself_is_no_news(webhooks: Webhooks, in_review: list[LandedRun]) -> None:
    webhooks.deliver(str(in_review[0].batch_id))
    found = asked(webhooks, in_review)
    assert found.states == {ReviewState.WAITING: RUNS}
    assert (found.taken, found.requests, found.webhooks.taken) == ([], 0, [])


def test_an_older_review_does_not_land_over_a_newer_one(
    webhooks: Webhooks, in_review: list[LandedRun]
) -> None:
    """The run was sent back and has landed again; then the webhook of its first review comes."""
    webhooks.put(webhooks.payload(in_review[0].run_id))
    newer = dataclasses.replace(in_review[0], steps=("exr_newer",))
    found = asked(webhooks, [newer])
    assert (found.taken, found.requests) == ([newer.run_id], 1)  # it is as Extend says, not as the webhook


def test_a_decision_with_less_than_landing_needs_is_asked_for(
    webhooks: Webhooks, in_review: list[LandedRun]
) -> None:
    run = in_review[2]
    webhooks.api.review(run.run_id, "approve")
    webhooks.put(webhooks.payload(run.run_id), change=lambda payload: {**payload, "stepRuns": []})
    found = asked(webhooks, in_review)
    assert (found.taken, found.requests) == ([run.run_id], 1)


def test_an_inbox_that_cannot_be_read_leaves_it_to_extend(
    webhooks: Webhooks, in_review: list[LandedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*asked: object) -> None:
        raise PermissionError("no")

    lost = decide(webhooks, in_review[9])
    monkeypatch.setattr(Inbox, "arrived", refuse)
    found = asked(webhooks, in_review)
    assert (found.taken, found.requests) == ([lost], RUNS)


def test_extend_is_asked_once_a_day_for_each_place(tmp_path: Path) -> None:
    here = ReviewSettings.from_rendered({"workspace": f"file://{tmp_path}/workspace"}, label=str)
    there = here.model_copy(update={"dataset": "another"})
    assert is_asking_due(here, NOW)
    note_asked(here, NOW)
    assert not is_asking_due(here, NOW + ASKED_EVERY - dt.timedelta(seconds=1))
    assert is_asking_due(here, NOW + ASKED_EVERY)
    assert is_asking_due(there, NOW)


def test_when_extend_was_asked_is_stored_with_a_version(tmp_path: Path) -> None:
    settings = ReviewSettings.from_rendered({"workspace": f"file://{tmp_path}/workspace"}, label=str)
    note_asked(settings, NOW)
    (file,) = (tmp_path / "workspace" / "reviews").iterdir()
    assert file.name == "extend.warehouse_default.extend_default.json"
    assert '"format": 1' in file.read_text()
    file.write_text('{"format": 99, "at": "x"}')
    with pytest.raises(PipelineInputError, match="format 99"):
        is_asking_due(settings, NOW)
