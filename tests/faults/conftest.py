"""The fault suite: processes are killed, the API misbehaves, disks and locks refuse; then it is counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.lanes import LANES, Lane, Lanes, opened
from faults.scenario import AIRFLOW, Counts, Scenario
from sandbox.stack.supervisor import Stack

HERE = Path(__file__).parent
COUNTS = pytest.StashKey[list[Counts]]()
RUNNING = pytest.StashKey[Lanes]()

TIMEOUT_SECONDS = 900
STARTING = threading.Lock()

MARKERS = (
    "alone: kills what other scenarios need, so it runs when they are through",
    "long: takes minutes, so it begins before the others",
)


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the table of counters."""
    config.stash[COUNTS] = []
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder ``live``; those that are alone come last.

    Each wait of theirs has its end, so the timeout of a test that waits for others only ends what is stuck.
    """
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Wait for a test that runs in a lane, instead of calling it."""
    if not is_in_lane(pyfuncitem):
        return None
    pyfuncitem.config.stash[RUNNING].outcome(pyfuncitem)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each scenario cost."""
    lines = config.stash[COUNTS]
    if not lines:
        return
    terminalreporter.section("Faults: what each scenario cost at Extend")
    width = max(len(line.name) for line in lines)
    header = ("docs", "POST batch", "GET list", "GET run", "runs×documents", "seconds")
    terminalreporter.write_line(
        f"{'':{width}} {header[0]:>6} {header[1]:>10} {header[2]:>8} {header[3]:>8}  {header[4]:<15} "
        f"{header[5]:>7}  tasks that began more than once"
    )
    for line in lines:
        terminalreporter.write_line(
            f"{line.name:{width}} {line.documents:>6} {line.posts:>10} {line.lists:>8} {line.gets:>8}  "
            f"{line.runs_per_document:<15} {line.seconds:>7.0f}  {line.attempts}"
        )


@pytest.fixture(scope="session")
def lanes(request: pytest.FixtureRequest, airflow_stack: Stack) -> Iterator[Lanes]:
    """The lanes, in which everything of the session that is not alone has begun."""
    in_lanes = [
        item for item in request.session.items if isinstance(item, pytest.Function) and is_in_lane(item)
    ]
    with opened(airflow_stack, LANES if in_lanes else 1) as open_lanes:
        for lane in open_lanes:
            for dag_id in lane.dag_ids():
                lane.client.wait_for_dag(dag_id)
        running = request.config.stash[RUNNING] = Lanes(open_lanes, perform)
        running.begin(sorted(in_lanes, key=lambda item: item.get_closest_marker("long") is None))
        yield running
        running.close()


@pytest.fixture
def scenario(request: pytest.FixtureRequest, lanes: Lanes) -> Iterator[Scenario | None]:
    """A scenario on a clean, whole stack; afterwards the stack is whole again and nothing runs.

    None for a test that runs in a lane: there it gets one of its own.
    """
    if is_in_lane(request.node):
        yield None
        return
    with lanes.alone() as lane:
        scenario = new_scenario(request.node, lane)
        yield scenario
        for name in AIRFLOW:
            if not lane.stack.component(name).running:
                lane.stack.start(name)
        scenario.end()


def is_in_lane(item: Any) -> bool:
    """Whether a test is a scenario beside others."""
    return "scenario" in getattr(item, "fixturenames", ()) and item.get_closest_marker("alone") is None


def perform(item: pytest.Function, lane: Lane) -> None:
    """Run a test in a lane; what had ended by itself during an earlier one is started again."""
    with STARTING:
        lane.stack.start_ended()
    scenario = new_scenario(item, lane)
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    try:
        item.obj(scenario=scenario, **parameters)
    finally:
        scenario.end()


def new_scenario(item: pytest.Item, lane: Lane) -> Scenario:
    """Return a scenario that is called as its test is."""
    return Scenario(item.name.removeprefix("test_"), lane, item.config.stash[COUNTS])
