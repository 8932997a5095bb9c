"""Many documents, failures of every kind, and a process killed every few seconds: the run converges."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from fixtures.airflow.scenario import BATCH, CHUNK, WORKFLOW, Scenario
from fixtures.airflow.timing import LOOK_SECONDS, RUN_SECONDS, SEEN_SECONDS
from fixtures.extend.synthetic import invoice
from sandbox.documents import ExpectedResult
from sandbox.stack.client import DagRun
from sandbox.stack.nightly.landed import LandedWarehouse
from sandbox.stack.nightly.verify import differences
from sandbox.stack.supervisor import Stack

BUCKET = "acme-archive"
#: Seconds between the first deaths, and by how much longer each pause is than the one before.
PAUSE_SECONDS, PATIENCE = 4.0, 1.1

COMPONENTS = ("scheduler", "triggerer", "api-server")
WORKER = "worker"
#: A worker's death is the likeliest thing to happen.
VICTIMS = (*COMPONENTS, WORKER, WORKER, WORKER)


@dataclasses.dataclass(frozen=True, slots=True)
class Fate:
    """The outcome of documents that have ``name`` in their name.

    :param share: of a thousand documents.
    :param status: with ``reason``, as the warehouse has it in the end.
    :param rule: the emulator's rule that makes it so.
    :param runs: how often it is sent.
    """

    name: str
    share: int
    status: Any
    reason: str | None = None
    rule: dict[str, object] | None = None
    runs: int = 1


FATES = (
    Fate("permanent", 20, "FAILED", "CORRUPT_FILE", {"status": "FAILED", "reason": "CORRUPT_FILE"}),
    Fate("transient", 30, "PROCESSED", None, {"status": "FAILED", "first_attempts": 1}, runs=2),
    Fate("review", 10, "NEEDS_REVIEW", None, {"status": "NEEDS_REVIEW"}),
    Fate("fine", 940, "PROCESSED"),
)


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize(
    ("documents", "chunks"),
    [(500, 4), pytest.param(10_000, 10, marks=pytest.mark.full)],
    ids=["short", "long"],
)
def test_run_converges_while_parts_are_killed_at_random(
    scenario: Scenario, airflow_stack: Stack, documents: int, chunks: int
) -> None:
    truth = dict(names(documents))
    seed(scenario, truth)
    rules = [{"name_glob": f"*-{fate.name}.txt", **fate.rule} for fate in FATES if fate.rule]
    scenario.extend.configure(
        synthetic=True, outcomes=rules, latency_seconds=1, latency_max_seconds=15, max_concurrent_runs=1000
    )
    run = scenario.start(source=f"s3://{BUCKET}/", chunk_size=documents // chunks)
    scenario.task(run, "plan", "success", timeout=RUN_SECONDS)
    killed = kill_at_random(airflow_stack, lambda: has_landed(scenario, run, chunks))
    scenario.succeed(run)

    scenario.record(len(truth), run)
    with LandedWarehouse(scenario.lane.warehouse) as warehouse:
        expected = (result(name, fate) for name, fate in truth.items())
        assert list(differences(expected, warehouse.documents(WORKFLOW, ""))) == []
    paid = collections.Counter(scenario.created().values())
    assert paid == collections.Counter(fate.runs for fate in truth.values())
    assert scenario.extend.requests_to(BATCH) >= 2 * chunks, "each chunk has failures to send again"
    scenario.assert_nothing_under_way()
    assert killed[WORKER]


def names(documents: int) -> Iterator[tuple[str, Fate]]:
    """Yield a name and a fate for each document, the rare ones evenly among the others."""
    fates = [fate for fate in FATES for _ in range(fate.share)]
    random.Random(3).shuffle(fates)
    for number in range(documents):
        fate = fates[number % len(fates)]
        yield f"{number:05d}-{fate.name}.txt", fate


def seed(scenario: Scenario, truth: dict[str, Fate]) -> None:
    scenario.lane.s3.bucket(BUCKET)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda name: scenario.lane.s3.put(BUCKET, name, name.encode()), truth):
            pass


def result(name: str, fate: Fate) -> ExpectedResult:
    """Return what has to land, its values too."""
    if fate.status == "FAILED":
        return ExpectedResult(name, fate.status, fate.reason, None, None)
    return invoice(name, fate.status, fate.reason)


def kill_at_random(stack: Stack, is_over: Callable[[], bool]) -> collections.Counter[str]:
    """Kill a worker, then each component, then whatever chance wants, until it is over; return how often.

    Every few seconds at first and then ever more rarely, so that a run comes to its end.
    """
    chance, killed, pause = random.Random(20261122), collections.Counter[str](), PAUSE_SECONDS
    victims = [WORKER, *chance.sample(VICTIMS, len(VICTIMS))]
    while not (is_over() and set(COMPONENTS) <= set(killed)):
        victim = victims.pop(0) if victims else chance.choice(VICTIMS)
        if victim == WORKER:
            killed[WORKER] += killed_worker(stack, is_over)
        else:
            stack.kill(victim)
            stack.start(victim)
            killed[victim] += 1
        time.sleep(pause)
        pause *= PATIENCE
    return killed


def killed_worker(stack: Stack, is_over: Callable[[], bool]) -> bool:
    """Kill the next process in which a task is at work; False if there is none any more."""
    deadline = time.monotonic() + SEEN_SECONDS
    while not (workers := list(task_processes(stack.component("scheduler").processes()))):
        if is_over():
            return False
        assert time.monotonic() < deadline, "no task is at work"
        time.sleep(LOOK_SECONDS)
    with contextlib.suppress(psutil.NoSuchProcess):
        workers[0].kill()
    return True


def has_landed(scenario: Scenario, run: DagRun, chunks: int) -> bool:
    """Whether every chunk is through."""
    tasks = scenario.client.tasks(run.dag_id, run.dag_run_id)
    return sum(task.task_id == f"{CHUNK}.load" and task.state == "success" for task in tasks) == chunks


def task_processes(processes: list[psutil.Process]) -> Iterator[psutil.Process]:
    """Yield those in which a task is at work."""
    for process in processes:
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("airflow worker -- ") and "LocalExecutor" not in title:
            yield process
