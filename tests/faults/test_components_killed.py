"""Airflow itself dies, part by part and as a whole, while Extend works on."""

from __future__ import annotations

from faults.scenario import AIRFLOW, Scenario, fault, gone


def test_triggerer_killed_and_started_again_while_deferred(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.live.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(scenario.live, ["triggerer"]):
        pass
    assert scenario.task(run, "wait", "deferred").try_number == 1
    scenario.live.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"wait": 1})


def test_batch_ends_while_no_triggerer_is_there(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.live.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(scenario.live, ["triggerer"]):
        scenario.live.extend.configure(hold=False)
        scenario.wait_until(lambda: not scenario.under_way(), "Extend is done")
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"wait": 1})


def test_second_triggerer_takes_over(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.live.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    second = scenario.live.stack.add_triggerer()
    try:
        with gone(scenario.live, ["triggerer"]):
            scenario.live.extend.configure(hold=False)
            scenario.succeed(run)
            assert scenario.live.stack.component(second).running
        scenario.verdict(truths, run, attempts={"wait": 1})
    finally:
        scenario.live.stack.kill(second)


def test_scheduler_killed_while_deferred(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.live.extend.configure(hold=True)
    run = scenario.start()
    scenario.task(run, "wait", "deferred")
    with gone(scenario.live, ["scheduler"]):
        scenario.live.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, attempts={"submit": 1, "wait": 1})


def test_scheduler_killed_with_its_workers_while_submitting(scenario: Scenario) -> None:
    truths = scenario.seed()
    scenario.live.extend.configure(faults=[fault("slow", seconds=4.5, accepted=True)])
    run = scenario.start()
    scenario.wait_until(scenario.created, "Extend has the batch")
    with gone(scenario.live, ["scheduler"]):
        pass
    assert not list(scenario.live.workspace.rglob("batch.json")), "it was killed too late"
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=1, attempts={"submit": 2})


def test_whole_airflow_killed_with_its_database_and_started_again(scenario: Scenario) -> None:
    truths = scenario.seed(24)
    scenario.live.extend.configure(hold=True)
    run = scenario.start(chunk_size=12)
    scenario.task(run, "wait", "deferred")
    with gone(scenario.live, AIRFLOW):
        scenario.live.extend.configure(hold=False)
    scenario.succeed(run)
    scenario.verdict(truths, run, posts=2)
