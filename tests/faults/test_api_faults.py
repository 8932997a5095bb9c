"""Extend misbehaves: wrong answers, late listings, repeated pages."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from fixtures.airflow.scenario import BATCH, LIST, Scenario, fault
from fixtures.tiers import FULL


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(fault("error", accepted=True, status=500), id="500", marks=FULL),
        pytest.param(fault("drop", accepted=True), id="connection dropped", marks=FULL),
        pytest.param(fault("malformed", accepted=True), id="half an answer", marks=FULL),
        pytest.param(fault("slow", accepted=True, seconds=8), id="answer too late"),
    ],
)
def test_submission_finds_an_accepted_batch_whose_answer_was_lost(
    scenario: Scenario, answer: dict[str, Any]
) -> None:
    truths = scenario.seed()
    scenario.extend.configure(faults=[answer])
    run = scenario.start()
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1, attempts={"submit": 1})


@pytest.mark.long
def test_submission_sends_again_what_was_not_accepted(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(faults=[fault("drop")])
    run = scenario.start()
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=2, attempts={"submit": 1})


@FULL
def test_submission_survives_ten_429s(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(faults=[fault("rate_limit", count=10, retry_after=0.2)])
    run = scenario.start()
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=11, attempts={"submit": 2})
    assert scenario.extend.stats()["responses"][f"{BATCH} 429"] == 10


def test_wait_sees_through_a_listing_that_is_late_and_halved(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(listing_lag_seconds=20, listing_lag_second_half_seconds=6)
    run = scenario.start()
    scenario.wait_until(scenario.created, "Extend has the batch")
    created_at = dt.datetime.now(dt.UTC)
    scenario.succeed(run)
    collect = scenario.task(run, "collect", "success")
    assert collect.start_date is not None
    assert collect.start_date - created_at > dt.timedelta(seconds=25), "half a batch was taken for all of it"
    scenario.verdict(truths, run, posts=1, attempts={"wait": 1})


@FULL
def test_pages_that_repeat_and_reorder_runs_are_counted_once(scenario: Scenario) -> None:
    truths = scenario.seed(230)
    scenario.extend.configure(max_page_size=100, repeat_between_pages=9, shuffle_pages=True)
    run = scenario.start()
    scenario.succeed(run)
    scenario.verdict(truths, run)
    assert scenario.extend.requests_to(LIST) >= 6, "three pages to wait, three to collect"
