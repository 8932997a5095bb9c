"""A cancellation that takes longer than the triggerer's patience; every other end is among the faults."""

from __future__ import annotations

import collections
from functools import partial

import msgspec

from fixtures.airflow.stack import Live
from fixtures.airflow.waiting import eventually
from sandbox.stack.client import DagRun

DAG = "kill_deferred"
CANCEL = "POST /workflow_runs/{id}/cancel"
RUNS = 3
PLAIN, FIRST, SECOND = ("plain", -1), ("mapped", 0), ("mapped", 1)
CANCELLED, UNTOUCHED = {"CANCELLED": RUNS}, {"PENDING": RUNS}


def test_slow_cancellation_completes_when_the_triggerer_interrupts_it(live: Live) -> None:
    live.client.wait_for_dag(DAG)
    live.extend.configure(hold=True, synthetic=True)
    run, batches = waiting(live)
    live.extend.configure(faults=[{"endpoint": CANCEL, "kind": "slow", "seconds": 4, "count": 2 * RUNS}])
    for task_id, map_index in (PLAIN, FIRST):
        live.client.set_task_state(run.dag_id, run.dag_run_id, task_id, "failed", map_index)
    eventually(lambda: statuses(live, batches[PLAIN]), CANCELLED)
    eventually(lambda: statuses(live, batches[FIRST]), CANCELLED)
    assert statuses(live, batches[SECOND]) == UNTOUCHED
    assert live.extend.requests_to(CANCEL) == 2 * RUNS
    for place in (PLAIN, FIRST):
        eventually(partial(says, live, run, place, "3 runs cancelled"), True)
    live.client.set_run_state(run.dag_id, run.dag_run_id, "failed")
    eventually(lambda: statuses(live, batches[SECOND]), CANCELLED)


def waiting(live: Live) -> tuple[DagRun, dict[tuple[str, int], str]]:
    """Start a run of three deferred waits; return it and the batch of each wait."""
    batches = {place: submitted(live) for place in (PLAIN, FIRST, SECOND)}
    conf = {"plain": batches[PLAIN], "first": batches[FIRST], "second": batches[SECOND]}
    run = live.client.trigger(DAG, conf=conf)
    for task_id, map_index in batches:
        live.client.wait_for_task(run.dag_id, run.dag_run_id, task_id, ("deferred",), map_index=map_index)
    # The triggers are at work, not just stored: each tells what it has seen.
    for place in batches:
        eventually(partial(says, live, run, place, f"0 of {RUNS} settled"), True)
    return run, batches


def submitted(live: Live) -> str:
    return live.extend.submit_batch([{"file": {"text": f"text {index}"}} for index in range(RUNS)])


def statuses(live: Live, batch_id: str) -> dict[str, int]:
    listed = live.extend.call("GET", "/workflow_runs", params={"batchId": batch_id, "maxPageSize": 1000})
    return dict(collections.Counter(run["status"] for run in listed.json()["data"]))


def says(live: Live, run: DagRun, place: tuple[str, int], words: str) -> bool:
    """Whether the log of the task's first try, the triggerer's part included, has these words."""
    task = msgspec.structs.replace(live.client.task(run.dag_id, run.dag_run_id, *place), try_number=1)
    return words in live.client.log(task)
