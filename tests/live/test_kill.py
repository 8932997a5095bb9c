"""What becomes of the runs at Extend when tasks are ended, cleared, or their triggerer dies; live."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from fixtures.airflow_stack import Live
from sandbox.stack.client import DagRun, TaskInstance

DEFERRED, POKING, SINGLE, SUBMISSION = "kill_deferred", "kill_poking", "kill_single_runs", "kill_submission"
BATCH = "POST /workflow_runs/batch"
CANCEL = "POST /workflow_runs/{id}/cancel"
RUNS = 3
PLAIN, FIRST, SECOND = ("plain", -1), ("mapped", 0), ("mapped", 1)
HANDED_ON = "the wait goes on elsewhere, so nothing is cancelled"


@pytest.fixture(autouse=True)
def nothing_moves(live: Live) -> None:
    for dag_id in (DEFERRED, POKING, SINGLE, SUBMISSION):
        live.client.wait_for_dag(dag_id)
    live.extend.configure(hold=True, synthetic=True)


def eventually(what: Callable[[], Any], expected: Any, *, timeout: float = 30) -> None:
    """Wait for something to become what it should be."""
    deadline = time.monotonic() + timeout
    while (found := what()) != expected:
        assert time.monotonic() < deadline, f"{found} is not {expected} after {timeout:.0f} s"
        time.sleep(0.3)


def submitted(live: Live) -> str:
    return live.extend.submit_batch([{"file": {"text": f"text {index}"}} for index in range(RUNS)])


def statuses(live: Live, batch_id: str) -> dict[str, int]:
    listed = live.extend.call("GET", "/workflow_runs", params={"batchId": batch_id, "maxPageSize": 1000})
    return dict(collections.Counter(run["status"] for run in listed.json()["data"]))


def waiting(live: Live) -> tuple[DagRun, dict[tuple[str, int], str]]:
    """Start a run of three deferred waits; return it and the batch of each wait."""
    batches = {place: submitted(live) for place in (PLAIN, FIRST, SECOND)}
    conf = {"plain": batches[PLAIN], "first": batches[FIRST], "second": batches[SECOND]}
    run = live.client.trigger(DEFERRED, conf=conf)
    for place in batches:
        wait_for(live, run, place, "deferred")
    # The triggers are at work, not just stored.
    eventually(lambda: live.extend.requests_to("GET /workflow_runs") >= len(batches), True)
    return run, batches


def wait_for(live: Live, run: DagRun, place: tuple[str, int], *states: str) -> TaskInstance:
    task_id, map_index = place
    return live.client.wait_for_task(run.dag_id, run.dag_run_id, task_id, states, map_index=map_index)


def assert_success(live: Live, run: DagRun) -> None:
    state = live.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=60).state
    assert state == "success", live.client.failed_logs(run.dag_id, run.dag_run_id)


def wait_for_log(live: Live, run: DagRun, place: tuple[str, int], says: str) -> None:
    """Wait for words in the log of the task's first try, the triggerer's part included."""
    task = msgspec.structs.replace(live.client.task(run.dag_id, run.dag_run_id, *place), try_number=1)
    eventually(lambda: says in live.client.log(task), True)


CANCELLED, UNTOUCHED = {"CANCELLED": RUNS}, {"PENDING": RUNS}


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_deferred_task_marked_by_hand_gives_its_batch_back_and_no_other(live: Live, state: Any) -> None:
    run, batches = waiting(live)
    # Slow enough for the triggerer to interrupt the cancellation several times.
    live.extend.configure(faults=[{"endpoint": CANCEL, "kind": "slow", "seconds": 4, "count": 2 * RUNS}])
    for task_id, map_index in (PLAIN, FIRST):
        live.client.set_task_state(run.dag_id, run.dag_run_id, task_id, state, map_index)
    eventually(lambda: statuses(live, batches[PLAIN]), CANCELLED)
    eventually(lambda: statuses(live, batches[FIRST]), CANCELLED)
    assert statuses(live, batches[SECOND]) == UNTOUCHED
    assert live.extend.requests_to(CANCEL) == 2 * RUNS
    for place in (PLAIN, FIRST):
        wait_for_log(live, run, place, "3 runs cancelled")
    live.client.set_run_state(run.dag_id, run.dag_run_id, "failed")
    eventually(lambda: statuses(live, batches[SECOND]), CANCELLED)


def test_deleting_the_run_cancels_all_of_its_batches(live: Live) -> None:
    """Airflow deletes no running run; when its triggers hear of it, the tasks' rows are gone."""
    run, batches = waiting(live)
    live.client.set_run_state(run.dag_id, run.dag_run_id, "failed")
    live.client.delete_run(run.dag_id, run.dag_run_id)
    for batch_id in batches.values():
        eventually(partial(statuses, live, batch_id), CANCELLED)


def test_clearing_leaves_the_batches_to_the_next_attempts(live: Live) -> None:
    run, batches = waiting(live)
    live.client.clear_tasks(run.dag_id, run.dag_run_id, ["plain", ("mapped", 0)])
    for place in (PLAIN, FIRST):
        wait_for_log(live, run, place, HANDED_ON)
        assert wait_for(live, run, place, "deferred").try_number == 2
    assert [statuses(live, batch_id) for batch_id in batches.values()] == [UNTOUCHED] * 3
    assert live.extend.requests_to(CANCEL) == 0
    live.extend.configure(hold=False)
    assert_success(live, run)


def test_a_poking_task_marked_failed_gives_its_batch_back(live: Live) -> None:
    batch_id = submitted(live)
    run = live.client.trigger(POKING, conf={"plain": batch_id})
    wait_for(live, run, PLAIN, "running")
    eventually(lambda: live.extend.requests_to("GET /workflow_runs") >= 1, True)
    live.client.set_task_state(run.dag_id, run.dag_run_id, "plain", "failed")
    eventually(lambda: statuses(live, batch_id), CANCELLED)


def test_a_poking_task_that_is_cleared_keeps_its_batch(live: Live) -> None:
    batch_id = submitted(live)
    run = live.client.trigger(POKING, conf={"plain": batch_id})
    wait_for(live, run, PLAIN, "running")
    eventually(lambda: live.extend.requests_to("GET /workflow_runs") >= 1, True)
    live.client.clear_tasks(run.dag_id, run.dag_run_id, ["plain"])
    # Airflow may notice only by the missing heartbeat that the worker it killed is gone.
    eventually(lambda: live.client.task(run.dag_id, run.dag_run_id, "plain").try_number, 2, timeout=180)
    live.extend.configure(hold=False)
    assert_success(live, run)
    assert live.extend.requests_to(CANCEL) == 0


def test_single_runs_are_given_back_too(live: Live) -> None:
    run = live.client.trigger(SINGLE)
    wait_for(live, run, ("run", -1), "deferred")
    eventually(lambda: live.extend.requests_to("GET /workflow_runs/{id}") >= 2, True)
    live.client.set_task_state(run.dag_id, run.dag_run_id, "run", "failed")
    eventually(lambda: live.extend.stats()["runs"], {"CANCELLED": 2})


def test_a_triggerer_killed_and_started_again_goes_on_waiting(live: Live) -> None:
    run = live.client.trigger(SUBMISSION)
    wait_for(live, run, ("wait", -1), "deferred")
    live.stack.kill("triggerer")
    live.stack.start("triggerer")
    assert_it_went_on(live, run)


def test_a_second_triggerer_takes_over_when_the_first_one_dies(live: Live) -> None:
    run = live.client.trigger(SUBMISSION)
    wait_for(live, run, ("wait", -1), "deferred")
    second = live.stack.add_triggerer()
    live.stack.kill("triggerer")
    try:
        assert_it_went_on(live, run)
    finally:
        live.stack.start("triggerer")
        live.stack.kill(second)


def assert_it_went_on(live: Live, run: DagRun) -> None:
    """The batch settles and the run succeeds, with nothing cancelled and nothing sent twice."""
    looks = live.extend.requests_to("GET /workflow_runs")
    eventually(lambda: live.extend.requests_to("GET /workflow_runs") > looks, True, timeout=60)
    assert live.extend.stats()["runs"] == {"PENDING": RUNS}
    live.extend.configure(hold=False)
    assert_success(live, run)
    assert live.extend.requests_to(CANCEL) == 0
    assert live.extend.requests_to(BATCH) == 1
    assert set(live.extend.stats()["runs_created"].values()) == {1}
