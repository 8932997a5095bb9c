"""The stack as a command: it starts, tells where it is, refuses a second one, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fixtures.airflow.timing import SEEN_SECONDS, START_SECONDS
from sandbox.airflow_settings import SettingsError
from sandbox.stack.client import AirflowClient
from sandbox.stack.home import Home
from sandbox.stack.processes.network import free_ports
from sandbox.stack.processes.orphans import is_alive
from sandbox.stack.processes.process import ComponentDied, StackError
from sandbox.stack.supervisor import Stack

PROJECT = Path(__file__).parents[2]

#: Says the last line of a start.
READY = "Ctrl-C stops everything."

#: Stands in for the nightly DAG: a task that is busy, with a daemon of its own.
DAG_FILE = """
import datetime as dt
from airflow.sdk import DAG, CronDataIntervalTimetable, task

with DAG(
    "extend_nightly",
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
):

    @task
    def busy():
        import subprocess, sys, time

        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        time.sleep(600)

    busy()
"""


@dataclasses.dataclass(frozen=True)
class Running:
    """A stack that was started as a command."""

    command: subprocess.Popen[str]
    home: Home

    def busy_processes(self) -> list[psutil.Process]:
        """Start the DAG, wait until its task is at work, and return all processes of the stack."""
        state = self.home.read_state()
        assert state is not None
        with AirflowClient(state.airflow_url, state.username, state.password) as client:
            client.set_paused("extend_nightly", False)
            run = client.trigger("extend_nightly")
            client.wait_for_task(run.dag_id, run.dag_run_id, "busy", ["running"])
            client.set_paused("extend_nightly", True)
        deadline = time.monotonic() + SEEN_SECONDS
        while not _daemons(self.processes()):
            assert time.monotonic() < deadline, "the task has not started its daemon"
            time.sleep(0.2)
        return self.processes()

    def processes(self) -> list[psutil.Process]:
        """All descendants, and whatever else carries the home in its environment."""
        return [*{*psutil.Process(self.command.pid).children(recursive=True), *self.home.strays()}]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A stack in a project of its own, ready."""
    project = tmp_path / "project"
    (project / "dags").mkdir(parents=True)
    (project / "dags" / "extend_nightly.py").write_text(DAG_FILE)
    (project / "plugins").symlink_to(PROJECT / "plugins")
    shutil.copy(PROJECT / "airflow_settings.yaml", project)
    (port,) = free_ports(1)
    options = ["--documents", "16", "--days", "1", "--empty", "--ui-port", str(port)]
    command = subprocess.Popen(
        [sys.executable, "-m", "sandbox.stack", "up", *options],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stack = Running(command, Home(project / ".sandbox"))
    guard = threading.Timer(START_SECONDS, command.kill)
    guard.start()
    try:
        assert command.stdout is not None
        output = []
        for line in command.stdout:
            output.append(line)
            if READY in line:
                break
        else:
            pytest.fail("the stack did not start:\n" + "".join(output))
        guard.cancel()
        yield stack
    finally:
        guard.cancel()
        command.kill()
        command.wait()
        left = stack.home.kill_strays()
        assert left == 0


def test_stack_serves_on_loopback_refuses_a_second_one_and_ends_with_sigterm(running: Running) -> None:
    state = running.home.read_state()
    assert state is not None
    assert running.home.owner() == running.command.pid
    with AirflowClient(state.airflow_url, state.username, state.password) as client:
        assert set(client.health().values()) == {"healthy"}
        assert client.get("pools/extend")["include_deferred"] is True
        assert client.get("connections/extend_default")["host"] == state.extend_url
        assert client.get("connections/warehouse_default")["host"] == state.warehouse
        assert client.get("variables/extend_workspace")["value"] == f"file://{running.home.path}/workspace"
    assert _stack_command(running, "status").returncode == 0
    again = _stack_command(running, "up")
    assert again.returncode == 1
    assert f"already running in {running.home.path} (pid {running.command.pid})" in again.stdout

    processes = running.busy_processes()
    assert _listening(processes), "nothing listens"
    assert {address for address, _ in _listening(processes)} == {"127.0.0.1"}

    running.command.send_signal(signal.SIGTERM)
    assert running.command.wait(SEEN_SECONDS) == 128 + signal.SIGTERM
    assert not _alive(processes)
    assert not running.home.strays()
    assert _stack_command(running, "status").returncode == 3


def test_killed_stack_leaves_no_process_and_frees_its_home(running: Running) -> None:
    processes = running.busy_processes()
    running.command.kill()
    running.command.wait()
    deadline = time.monotonic() + SEEN_SECONDS
    while (alive := _alive(processes)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive
    down = _stack_command(running, "down")
    assert down.returncode == 0
    assert "no stack is running" in down.stdout


def test_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = Stack(tmp_path / "home", project=PROJECT, ui_port=port)
        with pytest.raises(StackError, match=rf"port {port} for the Airflow UI is taken by .*{os.getpid()}"):
            stack.up()
    assert not (tmp_path / "home").exists()


def test_dead_component_is_named_with_its_log_and_the_stack_stops(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", project=PROJECT, extend_arguments=["--no-such-option"])
    with pytest.raises(ComponentDied, match=r"extend-api ended with exit code 2[\s\S]*no-such-option"):
        stack.up()
    assert not stack.home.strays()
    assert not stack.home.is_taken()


def test_wrong_settings_are_refused_before_anything_starts(tmp_path: Path) -> None:
    settings = tmp_path / "airflow_settings.yaml"
    settings.write_text("airflow: {pools: [{pool_name: extend}]}")
    stack = Stack(tmp_path / "home", project=PROJECT, settings=settings)
    with pytest.raises(SettingsError, match="pool_slot"):
        stack.up()
    assert not (tmp_path / "home").exists()


def _stack_command(running: Running, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox.stack", "--home", str(running.home.path), name]
    return subprocess.run(
        command,
        cwd=running.home.path.parent,
        capture_output=True,
        text=True,
        timeout=SEEN_SECONDS,
        check=False,
    )


def _listening(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # some come and go
            connections = process.net_connections("inet")
            found |= {
                (each.laddr.ip, each.laddr.port) for each in connections if each.status == psutil.CONN_LISTEN
            }
    return found


def _daemons(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in _alive(processes) if "import time; time.sleep(600)" in process.cmdline()]


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if is_alive(process)]
