"""The fault suite: processes are killed, the API misbehaves, disks and locks refuse; then it is counted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from faults.scenario import AIRFLOW, DAG_ID, NIGHTLY, Counts, Scenario, failpoints
from fixtures.airflow_stack import Live
from sandbox.airflow_settings import AirflowSettings
from sandbox.stack.supervisor import Stack

HERE = Path(__file__).parent
COUNTS = pytest.StashKey[list[Counts]]()

#: What production waits minutes for: an answer, a batch to appear in the list, the warehouse's lock.
ANSWER_SECONDS, LISTING_GRACE_SECONDS, LOCK_SECONDS = 5, 4, 2


def pytest_configure(config: pytest.Config) -> None:
    """Make room for the table of counters."""
    config.stash[COUNTS] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder ``live``."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)


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
def impatient_stack(airflow_stack: Stack) -> Stack:
    """The session's stack with the connections and the DAG that the scenarios use."""
    airflow_stack.client.wait_for_dag(DAG_ID)
    return airflow_stack


@pytest.fixture
def scenario(request: pytest.FixtureRequest, impatient_stack: Stack, live: Live) -> Iterator[Scenario]:
    """A scenario on a clean, whole stack; afterwards the stack is whole again and nothing runs."""
    folder = failpoints(live)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    live.client.apply(impatient_connections(live))
    yield Scenario(request.node.name.removeprefix("test_"), live, request.config.stash[COUNTS])
    for name in AIRFLOW:
        if not live.stack.component(name).running:
            live.stack.start(name)
    for run in (run for dag_id in (DAG_ID, NIGHTLY) for run in live.client.runs(dag_id) if not run.ended):
        live.client.set_run_state(run.dag_id, run.dag_run_id, "failed")


def impatient_connections(live: Live) -> AirflowSettings:
    """Return connections to the sandbox that give up soon."""
    originals = {connection.conn_id: connection for connection in live.settings.connections or ()}
    impatience = {"timeout": [2, ANSWER_SECONDS], "listing_grace": LISTING_GRACE_SECONDS}
    extend, aws = originals["extend_default"], originals["aws_default"]
    warehouse = originals["warehouse_default"]
    assert isinstance(extend.conn_extra, dict)
    return AirflowSettings(
        connections=[
            msgspec.structs.replace(
                extend, conn_id="extend_impatient", conn_extra={**extend.conn_extra, **impatience}
            ),
            msgspec.structs.replace(aws, conn_id="aws_faulty"),
            msgspec.structs.replace(
                warehouse, conn_id="warehouse_impatient", conn_extra={"lock_timeout": LOCK_SECONDS}
            ),
        ]
    )
