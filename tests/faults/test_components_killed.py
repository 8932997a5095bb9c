"""Components of Airflow are killed, one by one and all at once, while Extend continues to work."""

from __future__ import annotations

import pytest

from fixtures.airflow.scenario import AIRFLOW, Scenario, fault, gone
from sandbox.stack.supervisor import Stack

pytestmark = pytest.mark.alone


@pytest.mark.full
def test_wait_survives_a_triggerer_that_is_killed_and_restarted(
    scenario: Scenario, airflow_stack: Stack
) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(airflow_stack, ["triggerer"]):
        pass
    assert scenario.task(run, "wait", "deferred").try_number == 1
    scenario.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"wait": 1})


def test_wait_notices_a_batch_that_ended_without_a_triggerer(
    scenario: Scenario, airflow_stack: Stack
) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(airflow_stack, ["triggerer"]):
        scenario.extend.configure(hold=False)
        scenario.wait_until(lambda: not scenario.under_way(), "Extend is done")
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"wait": 1})


def test_second_triggerer_takes_over_from_a_killed_one(scenario: Scenario, airflow_stack: Stack) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    second = airflow_stack.add_triggerer()
    try:
        with gone(airflow_stack, ["triggerer"]):
            scenario.extend.configure(hold=False)
            scenario.succeed(run)
            assert airflow_stack.component(second).running
        scenario.verdict(truths, run, attempts={"wait": 1})
    finally:
        airflow_stack.kill(second)


@pytest.mark.full
def test_wait_survives_a_killed_scheduler(scenario: Scenario, airflow_stack: Stack) -> None:
    truths = scenario.seed()
    scenario.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(airflow_stack, ["scheduler"]):
        scenario.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"submit": 1, "wait": 1})


def test_submission_killed_with_the_scheduler_pays_once(scenario: Scenario, airflow_stack: Stack) -> None:
    truths = scenario.seed()
    scenario.lane.connect(answer_seconds=15)
    scenario.extend.configure(faults=[fault("slow", seconds=14, accepted=True)])
    run = scenario.start()
    scenario.wait_until(scenario.created, "Extend has the batch")
    with gone(airflow_stack, ["scheduler"]):
        pass
    assert not list(scenario.lane.workspace.rglob("batch.json")), "it was killed too late"
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1, attempts={"submit": 2})


def test_runs_survive_a_kill_of_all_of_airflow(scenario: Scenario, airflow_stack: Stack) -> None:
    truths = scenario.seed(24)
    scenario.extend.configure(hold=True)
    run = scenario.start(chunk_size=12)
    scenario.task(run, "wait", "deferred")
    with gone(airflow_stack, AIRFLOW):
        scenario.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=2)
