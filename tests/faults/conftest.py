"""The fault suite: processes are killed, the API misbehaves, disks and locks refuse; then it is counted."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.airflow.lanes import HELD_LANE, LANES, Lane
from fixtures.airflow.scenario import AIRFLOW, Counts, Scenario
from fixtures.airflow.stack import RunningAirflow, shared_home
from fixtures.airflow.timing import TEST_SECONDS
from fixtures.extend.api import running
from fixtures.sources.s3 import S3

HERE = Path(__file__).parent
COUNTS = "counts"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder ``live``; the long ones begin first, those that are alone come last."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
    items.sort(key=lambda item: (bool(item.get_closest_marker("alone")), not item.get_closest_marker("long")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each scenario cost."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [one for report in reports for one in getattr(report, "user_properties", ())]
    found = {Counts(**value).name: Counts(**value) for name, value in properties if name == COUNTS}
    if not found:
        return
    lines = sorted(found.values(), key=lambda line: line.name)
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
def lane_of(running_airflow: RunningAirflow) -> Iterator[Callable[[str], Lane]]:
    """Return a lane by its name, with its emulator and its DAGs in Airflow."""
    lanes: dict[str, Lane] = {}
    with contextlib.ExitStack() as emulators:

        def lane_of(name: str) -> Lane:
            if name not in lanes:
                extend, s3 = emulators.enter_context(running()), S3(running_airflow.s3_url)
                lane = lanes[name] = Lane(name, running_airflow, extend, s3)
                for dag_id in lane.dag_ids():
                    lane.client.wait_for_dag(dag_id)
            return lanes[name]

        yield lane_of


@pytest.fixture
def scenario(
    request: pytest.FixtureRequest, whole_airflow: RunningAirflow, lane_of: Callable[[str], Lane]
) -> Iterator[Scenario]:
    """A scenario on a clean lane of a whole Airflow; afterwards nothing of it runs."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    name = HELD_LANE if request.node.get_closest_marker("held") else f"lane{worker % LANES + 1}"
    with (whole_airflow.home.path / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may have the lane, the held one for example
        yield from in_lane(request, lane_of(name))


def in_lane(request: pytest.FixtureRequest, lane: Lane) -> Iterator[Scenario]:
    """Yield a scenario; then have the Airflow whole again and nothing of the scenario at work."""
    scenario = Scenario(request.node.name.removeprefix("test_"), lane)
    yield scenario
    if shared_home(request.config) is None:
        stack = request.getfixturevalue("airflow_stack")
        for name in AIRFLOW:
            if not stack.component(name).running:
                stack.start(name)
    scenario.end()
    for counts in scenario.counts:
        request.node.user_properties.append((COUNTS, dataclasses.asdict(counts)))
