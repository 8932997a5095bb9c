"""The broker of Celery's workers: its queues survive a kill, and nothing of it survives its stack."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from sandbox.stack.environment import base_environment
from sandbox.stack.home import Home
from sandbox.stack.processes.network import free_ports
from sandbox.stack.processes.process import Component, tail
from sandbox.stack.workers import BROKER, WORKERS, CeleryMachines

START_SECONDS = 60
#: Longer than the second for which the broker may keep what it writes from the disk.
WRITTEN_SECONDS = 2


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[tuple[CeleryMachines, Component]]:
    """A broker in a home, ready."""
    home = Home(tmp_path)
    machines = CeleryMachines(home, *free_ports(1))
    component = Component(BROKER, machines.broker(base_environment(home.path)), home.logs / "broker.log")
    start(machines, component)
    try:
        yield machines, component
    finally:
        component.kill()


def start(machines: CeleryMachines, component: Component) -> None:
    component.start()
    deadline = time.monotonic() + START_SECONDS
    while not machines.is_ready(BROKER):
        component.check_alive()
        assert time.monotonic() < deadline, tail(component.log)
        time.sleep(0.05)


def test_queues_survive_a_kill(broker: tuple[CeleryMachines, Component]) -> None:
    machines, component = broker
    with Redis.from_url(machines.broker_url) as queue:
        queue.lpush("default", "a task")
        time.sleep(WRITTEN_SECONDS)
        component.kill()
        assert not machines.is_ready(BROKER)
        start(machines, component)
        assert queue.lrange("default", 0, -1) == [b"a task"]


def test_process_keeps_the_mark_of_its_stack(
    broker: tuple[CeleryMachines, Component], tmp_path: Path
) -> None:
    _, component = broker
    assert [process.pid for process in Home(tmp_path).strays()] == [component.pid]


def test_nobody_gets_in_without_the_password(
    broker: tuple[CeleryMachines, Component], tmp_path: Path
) -> None:
    machines, _ = broker
    address = machines.broker_url.rpartition("@")[2].removesuffix("/0")
    with Redis.from_url(f"redis://{address}") as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    assert (tmp_path / BROKER / "valkey.conf").stat().st_mode & 0o077 == 0


def test_machines_share_no_folder(tmp_path: Path) -> None:
    machines = CeleryMachines(Home(tmp_path), 1)
    airflow = {"AIRFLOW_HOME": "/shared", "TMPDIR": "/shared", "HOME": "/shared"}
    environments = [machines.worker(name, airflow).environment for name in WORKERS]
    for name, environment in zip(WORKERS, environments, strict=True):
        folders = [value for value in environment.values() if value.startswith("/")]
        assert folders
        assert all(folder.startswith(f"{machines.disk(name)}/") for folder in folders)
    (machines.disk(WORKERS[0]) / "tmp" / "left").touch()
    machines.renew_disk(WORKERS[0])
    assert not list(machines.disk(WORKERS[0]).glob("tmp/*"))
