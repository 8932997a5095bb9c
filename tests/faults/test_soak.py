"""Thousands of documents, failures of every kind, and something dies every few seconds: it converges."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import random
import time
from collections.abc import Iterator

import psutil
import pytest

from faults.scenario import BATCH, WORKFLOW, Scenario
from sandbox.stack.landed import LandedWarehouse

BUCKET = "acme-archive"
DOCUMENTS, CHUNKS = 10_000, 10
KILLING_SECONDS, PAUSE_SECONDS = 90, 4

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
    status: str
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
@pytest.mark.timeout(600)
def test_soak(scenario: Scenario) -> None:
    truth = dict(names())
    seed(scenario, truth)
    rules = [{"name_glob": f"*-{fate.name}.txt", **fate.rule} for fate in FATES if fate.rule]
    scenario.extend.configure(
        synthetic=True, outcomes=rules, latency_seconds=1, latency_max_seconds=15, max_concurrent_runs=1000
    )
    run = scenario.start(source=f"s3://{BUCKET}/", chunk_size=DOCUMENTS // CHUNKS)
    scenario.task(run, "plan", "success", timeout=120)
    killed = kill_at_random(scenario, random.Random(20261122))
    scenario.succeed(run, timeout=300)

    scenario.record(len(truth), run)
    expected = {name: (fate.status, fate.reason) for name, fate in truth.items()}
    rows = landed(scenario)
    assert {key: (status, reason) for key, status, reason in rows} == expected
    assert len(rows) == len(expected)
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


def kill_at_random(scenario: Scenario, chance: random.Random) -> collections.Counter[str]:
    """Kill a component, or a worker process, every few seconds for a while; each part dies at least once."""
    stack = scenario.lane.stack
    killed: collections.Counter[str] = collections.Counter()
    until = time.monotonic() + KILLING_SECONDS
    while time.monotonic() < until or not set(COMPONENTS) <= set(killed):
        time.sleep(PAUSE_SECONDS * (0.5 + chance.random()))
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


def task_processes(processes: list[psutil.Process]) -> Iterator[psutil.Process]:
    """Yield those in which a task is at work."""
    for process in processes:
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("airflow worker -- ") and "LocalExecutor" not in title:
            yield process


def landed(scenario: Scenario) -> list[tuple[str, str, str | None]]:
    with LandedWarehouse(scenario.lane.warehouse) as warehouse:
        sql = "SELECT key, status, reason FROM extend.documents WHERE workflow_id = ?"
        return [(key, status, reason) for key, status, reason in warehouse.rows(sql, [WORKFLOW])]
