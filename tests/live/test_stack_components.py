"""Control over single components, which the tests of faults rest on."""

from __future__ import annotations

import datetime as dt

import pytest

from fixtures.airflow.stack import Live
from fixtures.airflow.waiting import eventually
from sandbox.stack.processes.orphans import is_alive
from sandbox.stack.processes.process import ComponentDied, StackError
from sandbox.stack.supervisor import Stack

pytestmark = pytest.mark.alone


def test_killed_triggerer_ends_with_its_children_and_starts_again(live: Live, airflow_stack: Stack) -> None:
    triggerer = airflow_stack.component("triggerer")
    family = triggerer.processes()
    assert len(family) >= 2, "a triggerer runs its triggers in a process of its own"
    airflow_stack.kill("triggerer")
    assert not [process for process in family if is_alive(process)]
    airflow_stack.check_alive()  # killed on purpose
    began = dt.datetime.now(dt.UTC)
    airflow_stack.start("triggerer")
    assert live.client.live_jobs("TriggererJob", since=began) == 1


def test_emulator_restarts_on_the_same_port(live: Live, airflow_stack: Stack) -> None:
    assert live.client.test_connection(live.settings.connection("extend_default") or {})[0]
    airflow_stack.restart("extend-api")
    works, message = live.client.test_connection(live.settings.connection("extend_default") or {})
    assert works, message


def test_component_that_ended_by_itself_is_reported_dead(airflow_stack: Stack) -> None:
    s3 = airflow_stack.component("s3")
    for process in s3.processes():
        process.kill()
    try:
        eventually(lambda: s3.running, False)
        with pytest.raises(ComponentDied, match="s3 ended with exit code 137"):
            airflow_stack.check_alive()
    finally:
        assert airflow_stack.start_ended() == ["s3"]
    airflow_stack.check_alive()


def test_unknown_component_is_refused_with_the_known_names(airflow_stack: Stack) -> None:
    with pytest.raises(
        StackError, match=r"unknown component 'webserver'; known are s3, extend-api, postgres, api-server"
    ):
        airflow_stack.kill("webserver")


def test_airflow_command_line_works_in_the_stack(airflow_stack: Stack) -> None:
    done = airflow_stack.airflow("pools", "get", "extend", "--output", "plain")
    assert done.returncode == 0, done.stderr
    assert "extend" in done.stdout
