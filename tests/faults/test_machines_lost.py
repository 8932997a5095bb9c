"""Celery workers that share no disk: machines are lost, the broker and the triggerer are killed."""

from __future__ import annotations

import dataclasses

import pytest

from fixtures.airflow.machines import Machines
from sandbox.stack.workers import BROKER, WORKERS

pytestmark = pytest.mark.alone


@pytest.mark.long
def test_worker_lost_while_chunks_are_sent(machines: Machines, request: pytest.FixtureRequest) -> None:
    run = machines.begin(200, chunks=2, held=2, slowest=2)
    lost = machines.lose_a_worker_that_sends(run)
    counts = machines.verdict(run)
    request.node.user_properties.append(("counts", dataclasses.asdict(counts)))
    assert machines.hosts(run, "load") == {*WORKERS} - {lost}, "a dead machine has worked"


@pytest.mark.full
def test_worker_broker_and_triggerer_lost_in_one_run(
    machines: Machines, request: pytest.FixtureRequest
) -> None:
    run = machines.begin(10_000, chunks=10, held=10, slowest=40)
    lost = machines.lose_a_worker_that_sends(run)
    machines.stack.replace_machine(lost)
    machines.wait_until(lambda: len(machines.tasks(run, "wait", "deferred")) > 1, "batches are waited for")
    machines.lose("triggerer")
    machines.stack.start("triggerer")
    machines.wait_until(lambda: machines.tasks(run, "collect", "running"), "results are collected")
    machines.lose(BROKER)
    machines.stack.start(BROKER)
    counts = machines.verdict(run)
    request.node.user_properties.append(("counts", dataclasses.asdict(counts)))
    assert machines.hosts(run, "collect") == {*WORKERS}
