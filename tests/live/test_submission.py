"""Submissions on a real scheduler and triggerer: deferred, ended and cleared meanwhile, shared by runs."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import re
import time
from collections.abc import Iterator

import pytest

from fixtures.airflow.stack import Live
from fixtures.airflow.timing import RUN_SECONDS
from fixtures.airflow.waiting import eventually
from sandbox.airflow_settings import AirflowSettings, PoolSettings
from sandbox.stack.client import DagRun, TaskInstance
from sandbox.stack.samples import seed_documents, source_of
from sandbox.stack.supervisor import Stack

SUBMISSION, ON_DEMAND = "kill_submission", "extend_on_demand"
LOST, RESUBMISSION = "lost_submission", "resubmission"
SUBMIT, WAIT = (f"documents_to_warehouse.chunk.{name}" for name in ("submit", "wait"))
BATCH = "POST /workflow_runs/batch"
CANCEL = "POST /workflow_runs/{id}/cancel"
LEFT = "other tasks wait for the same work"
RUNS = 3
DAY = dt.date(2026, 9, 1)


@pytest.fixture(autouse=True)
def ready(live: Live) -> None:
    for dag_id in (SUBMISSION, ON_DEMAND):
        live.client.wait_for_dag(dag_id)
    live.client.set_paused(ON_DEMAND, False)
    live.extend.configure(synthetic=True)


def rate_limited_run(live: Live) -> DagRun:
    """Start a submission that Extend turns away for an hour; return its run once its worker is free."""
    live.extend.configure(faults=[{"endpoint": BATCH, "kind": "rate_limit", "retry_after": 3600}])
    run = live.client.trigger(SUBMISSION)
    live.client.wait_for_task(run.dag_id, run.dag_run_id, "submit", ("deferred",))
    assert live.extend.requests_to(BATCH) == 1
    return run


def assert_it_pays_once(live: Live, run: DagRun) -> None:
    ended = live.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=RUN_SECONDS)
    assert ended.state == "success", live.client.failed_logs(run.dag_id, run.dag_run_id)
    assert live.extend.requests_to(BATCH) == 2
    assert list(live.extend.stats()["runs_created"].values()) == [1] * RUNS
    assert live.extend.requests_to(CANCEL) == 0


def test_cleared_waiting_submission_continues(live: Live) -> None:
    run = rate_limited_run(live)
    live.client.clear_tasks(run.dag_id, run.dag_run_id, ["submit"])
    assert_it_pays_once(live, run)


def test_ended_waiting_submission_cancels_nothing_and_a_clear_resumes_it(live: Live) -> None:
    run = rate_limited_run(live)
    live.client.set_task_state(run.dag_id, run.dag_run_id, "submit", "failed")
    live.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=RUN_SECONDS)
    assert live.extend.stats()["runs_created"] == {}
    live.client.clear_run(run.dag_id, run.dag_run_id)
    assert_it_pays_once(live, run)


def test_rate_limit_is_waited_out_in_the_triggerer_without_an_attempt(live: Live) -> None:
    live.extend.configure(faults=[{"endpoint": BATCH, "kind": "rate_limit", "retry_after": 8}])
    run = live.client.trigger(SUBMISSION)
    live.client.wait_for_task(run.dag_id, run.dag_run_id, "submit", ("deferred",))
    assert_it_pays_once(live, run)
    assert live.client.task(run.dag_id, run.dag_run_id, "submit").try_number == 1


def test_cleared_task_submits_anew_without_tracing_or_run_reset_but_a_retry_does_not(
    live: Live,
) -> None:
    live.client.wait_for_dag(RESUBMISSION)
    live.extend.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True, "count": 1}])
    run = live.client.trigger(RESUBMISSION)
    ended = live.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=RUN_SECONDS)
    assert ended.state == "success", live.client.failed_logs(run.dag_id, run.dag_run_id)
    assert live.extend.requests_to(BATCH) == 1, "the retry has found what the first attempt had sent"
    tries = live.client.task(run.dag_id, run.dag_run_id, "submit").try_number
    # A run that has ended is not started by this; so it goes on only because it is put back by hand.
    live.client.clear_tasks(run.dag_id, run.dag_run_id, ["submit"], reset_run=False)
    live.client.set_run_state(run.dag_id, run.dag_run_id, "queued")
    live.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=RUN_SECONDS)
    assert live.client.task(run.dag_id, run.dag_run_id, "submit").try_number == tries + 1
    assert live.extend.requests_to(BATCH) == 2


@pytest.mark.alone
def test_trigger_that_learns_of_a_clear_too_late_leaves_its_batch_alone(
    live: Live, airflow_stack: Stack
) -> None:
    live.client.wait_for_dag(LOST)
    refused = {"endpoint": BATCH, "kind": "error", "accepted": False, "count": 1}
    live.extend.configure(hold=True, faults=[refused])
    run = live.client.trigger(LOST)
    where = (run.dag_id, run.dag_run_id)
    live.client.wait_for_task(*where, "submit", ("deferred",))
    old = live.client.task(*where, "submit")

    def sleeps_long() -> bool:
        going_on = re.findall(r"Continuing at (\S+), without a worker", live.client.log(old))
        left = dt.datetime.fromisoformat(going_on[-1]) - dt.datetime.now(dt.UTC)
        return left > dt.timedelta(seconds=18)

    eventually(sleeps_long, True)
    (mark,) = set(re.findall(r"airflow_submission=([\w.-]+/)", live.client.log(old)))
    given = {"file": {"text": "t"}, "metadata": {"airflow_submission": f"{mark}{RUNS}"}}
    time.sleep(4)  # until its trigger is at work
    live.extend.submit_batch([given] * RUNS)
    with standing_still(airflow_stack, "triggerer"):
        live.client.clear_tasks(*where, ["submit"])
        live.client.wait_for_task(*where, "submit", ("success",))
    eventually(lambda: "nothing is cancelled" in live.client.log(old), True)
    assert live.extend.stats()["runs"] == {"PENDING": RUNS}


@contextlib.contextmanager
def standing_still(stack: Stack, component: str) -> Iterator[None]:
    """Let a component's processes stand still."""
    processes = stack.component(component).processes()
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_ending_one_of_two_runs_leaves_their_batch_to_the_other(live: Live) -> None:
    bucket, prefix = source_of(live.settings)
    live.s3.bucket(bucket)
    seed_documents(live.s3.endpoint_url, live.settings, (DAY,), 16, 3)
    live.extend.configure(hold=True, cancelling_seconds=0)
    first, second = (waiting(live, f"s3://{bucket}/{prefix}{DAY}/") for _ in range(2))
    created = collections.Counter(live.extend.stats()["runs"])["PENDING"]
    assert created > 0
    assert live.extend.requests_to(BATCH) == 1

    live.client.set_run_state(first.dag_id, first.dag_run_id, "failed")
    eventually(lambda: LEFT in live.client.log(wait_task(live, first)), True)
    assert live.extend.stats()["runs"] == {"PENDING": created}

    live.client.set_run_state(second.dag_id, second.dag_run_id, "failed")
    eventually(lambda: live.extend.stats()["runs"], {"CANCELLED": created})


def test_queued_run_keeps_the_batch_that_it_plans_to_take_up(live: Live) -> None:
    bucket, prefix = source_of(live.settings)
    live.s3.bucket(bucket)
    seed_documents(live.s3.endpoint_url, live.settings, (DAY,), 16, 4)
    live.extend.configure(hold=True, cancelling_seconds=0)
    source = f"s3://{bucket}/{prefix}{DAY}/"
    one_at_a_time = PoolSettings(pool_name="extend", pool_slot=1, pool_include_deferred=True)
    live.client.apply(AirflowSettings(pools=[one_at_a_time]))
    try:
        first = waiting(live, source)
        created = live.extend.stats()["runs"]["PENDING"]
        second = live.client.trigger(ON_DEMAND, conf={"source": source})
        live.client.wait_for_task(second.dag_id, second.dag_run_id, SUBMIT, ("scheduled",), map_index=0)
        live.client.set_run_state(first.dag_id, first.dag_run_id, "failed")
        eventually(lambda: LEFT in live.client.log(wait_task(live, first)), True)
        assert live.extend.stats()["runs"] == {"PENDING": created}
        # Its turn has come.
        wait_at_work(live, second)
        live.client.set_run_state(second.dag_id, second.dag_run_id, "failed")
        eventually(lambda: live.extend.stats()["runs"], {"CANCELLED": created})
        assert live.extend.requests_to(BATCH) == 1
    finally:
        live.client.apply(AirflowSettings(pools=live.settings.pools))


def waiting(live: Live, source: str) -> DagRun:
    run = live.client.trigger(ON_DEMAND, conf={"source": source})
    wait_at_work(live, run)
    return run


def wait_at_work(live: Live, run: DagRun) -> None:
    """Wait until a run's trigger is at work, not just stored: Airflow kills no trigger that has not begun."""
    live.client.wait_for_task(run.dag_id, run.dag_run_id, WAIT, ("deferred",), map_index=0)
    eventually(lambda: "settled" in live.client.log(wait_task(live, run)), True)


def wait_task(live: Live, run: DagRun) -> TaskInstance:
    return live.client.task(run.dag_id, run.dag_run_id, WAIT, 0)
