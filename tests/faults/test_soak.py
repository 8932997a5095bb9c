"""Thousands of documents, failures of every kind, and something dies every few seconds: it converges."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import random
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from faults.scenario import BATCH, CHUNK, WORKFLOW, Scenario
from sandbox.documents import ExpectedResult
from sandbox.stack.client import DagRun
from sandbox.stack.landed import LandedWarehouse
from sandbox.stack.verify import differences

BUCKET = "acme-archive"
DOCUMENTS, CHUNKS = 10_000, 10
#: Seconds between the first deaths, and by how much longer each pause is than the one before.
PAUSE_SECONDS, PATIENCE = 4.0, 1.1

COMPONENTS = ("scheduler", "triggerer", "api-server")
WORKER = "worker"
#: A worker's death is the likeliest thing to happen.
VICTIMS = (*COMPONENTS, WORKER, WORKER, WORKER)


@dataclasses.dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of documents that have ``name`` in their name.

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
def test_soak(scenario: Scenario) -> None:
    truth = dict(names())
    seed(scenario, truth)
    rules = [{"name_glob": f"*-{fate.name}.txt", **fate.rule} for fate in FATES if fate.rule]
    scenario.extend.configure(
        synthetic=True, outcomes=rules, latency_seconds=1, latency_max_seconds=15, max_concurrent_runs=1000
    )
    run = scenario.start(source=f"s3://{BUCKET}/", chunk_size=DOCUMENTS // CHUNKS)
    scenario.task(run, "plan", "success", timeout=300)
    killed = kill_at_random(scenario, run, random.Random(20261122))
    scenario.succeed(run, timeout=500)

    scenario.record(len(truth), run)
    with LandedWarehouse(scenario.lane.warehouse) as warehouse:
        expected = (result(name, fate) for name, fate in truth.items())
        assert list(differences(expected, warehouse.documents(WORKFLOW, ""))) == []
    paid = collections.Counter(scenario.created().values())
    assert paid == collections.Counter(fate.runs for fate in truth.values())
    assert scenario.extend.requests_to(BATCH) >= 2 * CHUNKS, "each chunk has failures to send again"
    scenario.assert_nothing_under_way()
    assert killed[WORKER] > 1
    assert all(killed[component] for component in COMPONENTS)


def names() -> Iterator[tuple[str, Fate]]:
    """Yield a name and a fate for each document, the rare ones evenly among the others."""
    fates = [fate for fate in FATES for _ in range(fate.share)]
    random.Random(3).shuffle(fates)
    for number in range(DOCUMENTS):
        fate = fates[number % len(fates)]
        yield f"{number:05d}-{fate.name}.txt", fate


def seed(scenario: Scenario, truth: dict[str, Fate]) -> None:
    scenario.lane.s3.bucket(BUCKET)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda name: scenario.lane.s3.put(BUCKET, name, name.encode()), truth):
            pass


def result(name: str, fate: Fate) -> ExpectedResult:
    """Return what has to land, its values too: those that the emulator's synthetic mode makes of a name."""
    if fate.status == "FAILED":
        return ExpectedResult(name, fate.status, fate.reason, None, None)
    items = [{"description": f"{name} {position}"} for position in (1, 2)]
    value = {"invoice_number": name, "line_items": items}
    return ExpectedResult(name, fate.status, fate.reason, "invoice", value)


def kill_at_random(scenario: Scenario, run: DagRun, chance: random.Random) -> collections.Counter[str]:
    """Kill a component, or a worker process, until the last chunk has landed; each part dies at least once.

    Every few seconds at first and then ever more rarely, so that there is an end to it.
    """
    stack = scenario.lane.stack
    killed: collections.Counter[str] = collections.Counter()
    pause = PAUSE_SECONDS
    while not (has_landed(scenario, run) and set(COMPONENTS) <= set(killed)):
        time.sleep(pause * (0.5 + chance.random()))
        pause *= PATIENCE
        victim = chance.choice(VICTIMS)
        if victim == WORKER:
            workers = list(task_processes(stack.component("scheduler").descendants()))
            for process in workers[:1]:
                process.kill()
                killed[WORKER] += 1
        else:
            stack.kill(victim)
            stack.start(victim)
            killed[victim] += 1
    return killed


def has_landed(scenario: Scenario, run: DagRun) -> bool:
    """Whether every chunk is through."""
    tasks = scenario.client.tasks(run.dag_id, run.dag_run_id)
    return sum(task.task_id == f"{CHUNK}.load" and task.state == "success" for task in tasks) == CHUNKS


def task_processes(processes: list[psutil.Process]) -> Iterator[psutil.Process]:
    """Yield those in which a task is at work."""
    for process in processes:
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("airflow worker -- ") and "LocalExecutor" not in title:
            yield process
