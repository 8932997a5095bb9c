"""Control over single components, which the tests of faults rest on."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from fixtures.airflow_stack import Live
from sandbox.stack.process import Component, ComponentDied, StackError


def test_a_killed_triggerer_is_gone_with_its_family_and_a_started_one_is_alive(live: Live) -> None:
    triggerer = live.stack.component("triggerer")
    family = triggerer.descendants()
    assert len(family) >= 2, "a triggerer runs its triggers in a process of its own"
    live.stack.kill("triggerer")
    assert not [process for process in family if process.is_running()]
    live.stack.check_alive()  # killed on purpose
    began = dt.datetime.now(dt.UTC)
    live.stack.start("triggerer")
    assert live.client.live_jobs("TriggererJob", since=began) == 1


def test_a_second_triggerer_works_beside_the_first_until_it_is_killed(live: Live) -> None:
    began = dt.datetime.now(dt.UTC)
    name = live.stack.add_triggerer()
    try:
        assert name != "triggerer"
        assert live.stack.component("triggerer").running
        assert live.client.live_jobs("TriggererJob", since=began) == 1
    finally:
        live.stack.kill(name)


def test_the_emulator_comes_back_on_the_same_port(live: Live) -> None:
    assert live.client.test_connection(live.settings.connection("extend_default") or {})[0]
    live.stack.restart("extend-api")
    works, message = live.client.test_connection(live.settings.connection("extend_default") or {})
    assert works, message


def test_a_component_that_nobody_stopped_is_reported_dead(live: Live) -> None:
    s3 = live.stack.component("s3")
    for process in s3.descendants():
        process.kill()
        process.wait(5)
    try:
        _wait_for_the_end(s3)
        with pytest.raises(ComponentDied, match="s3 ended with exit code 137"):
            live.stack.check_alive()
    finally:
        assert live.stack.start_ended() == ["s3"]
    live.stack.check_alive()


def test_an_unknown_component_is_refused_with_those_that_there_are(live: Live) -> None:
    with pytest.raises(
        StackError, match=r"no component 'webserver', only s3, extend-api, postgres, api-server"
    ):
        live.stack.kill("webserver")


def test_airflows_own_command_line_works_in_the_stack(live: Live) -> None:
    done = live.stack.airflow("pools", "get", "extend", "--output", "plain")
    assert done.returncode == 0, done.stderr
    assert "extend" in done.stdout


def _wait_for_the_end(component: Component) -> None:
    deadline = time.monotonic() + 10
    while component.running and time.monotonic() < deadline:
        time.sleep(0.05)
