"""Airflow itself dies, part by part and as a whole, while Extend works on."""

from __future__ import annotations

import pytest

from faults.scenario import AIRFLOW, Scenario, fault, gone

pytestmark = pytest.mark.alone


def test_triggerer_killed_and_started_again_while_deferred(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(scenario.lane.stack, ["triggerer"]):
        pass
    assert scenario.task(run, "wait", "deferred").try_number == 1
    scenario.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"wait": 1})


def test_batch_ends_while_no_triggerer_is_there(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(scenario.lane.stack, ["triggerer"]):
        scenario.extend.configure(hold=False)
        scenario.wait_until(lambda: not scenario.under_way(), "Extend is done")
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"wait": 1})


def test_second_triggerer_takes_over(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    second = scenario.lane.stack.add_triggerer()
    try:
        with gone(scenario.lane.stack, ["triggerer"]):
            scenario.extend.configure(hold=False)
            scenario.succeed(run)
            assert scenario.lane.stack.component(second).running
        scenario.verdict(truths, run, attempts={"wait": 1})
    finally:
        scenario.lane.stack.kill(second)


def test_scheduler_killed_while_deferred(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(scenario.lane.stack, ["scheduler"]):
        scenario.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"submit": 1, "wait": 1})


def test_scheduler_killed_with_its_workers_while_submitting(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.extend.configure(faults=[fault("slow", seconds=4.5, accepted=True)])
    run = scenario.start()
    scenario.wait_until(scenario.created, "Extend has the batch")
    with gone(scenario.lane.stack, ["scheduler"]):
        pass
    assert not list(scenario.lane.workspace.rglob("batch.json")), "it was killed too late"
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1, attempts={"submit": 2})


def test_whole_airflow_killed_with_its_database_and_started_again(scenario: Scenario) -> None:
    truths = scenario.seed(24)
    scenario.extend.configure(hold=True)
    run = scenario.start(chunk_size=12)
    scenario.task(run, "wait", "deferred")
    with gone(scenario.lane.stack, AIRFLOW):
        scenario.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=2)
