"""The stages of a run as the terminal shows them, and the environment that Airflow starts in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from sandbox.stack.client import TaskInstance
from sandbox.stack.environment import FOREIGN_PREFIXES, base_environment
from sandbox.stack.home import HOME_VARIABLE
from sandbox.stack.nightly.progress import stages


def task(name: str, state: str | None, *, map_index: int = -1, minute: int | None = None) -> TaskInstance:
    start = None if minute is None else dt.datetime(2026, 11, 22, 2, minute, tzinfo=dt.UTC)
    return TaskInstance(
        dag_id="d",
        dag_run_id="r",
        task_id=f"documents_to_warehouse.{name}",
        map_index=map_index,
        try_number=1,
        state=state,
        start_date=start,
    )


@pytest.mark.parametrize(
    ("tasks", "shown"),
    [
        pytest.param([task("discover", None), task("plan", None)], [], id="nothing has begun"),
        pytest.param([task("discover", "running", minute=0)], ["discover …"], id="the first has"),
        pytest.param(
            [
                task("chunk.wait", "deferred", map_index=0, minute=3),
                task("chunk.wait", "success", map_index=1, minute=4),
                task("chunk.wait", "queued", map_index=2),
                task("plan", "success", minute=2),
                task("finish", None),
            ],
            ["plan ✓", "wait 1/3"],
            id="mapped, in the order in which they began",
        ),
        pytest.param(
            [
                task("chunk.load", "failed", map_index=0, minute=1),
                task("chunk.load", "success", map_index=1, minute=1),
            ],
            ["load 1 failed"],
            id="failed",
        ),
    ],
)
def test_stages_show_the_progress_of_each_task(tasks: list[TaskInstance], shown: list[str]) -> None:
    assert [str(stage) for stage in stages(tasks)] == shown


def test_environment_has_nothing_of_the_callers_airflow_or_cloud() -> None:
    foreign = {
        "AIRFLOW_HOME": "x",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production",
        "AIRFLOW_CONN_EXTEND_DEFAULT": "{}",
        "_AIRFLOW__AS_LIBRARY": "1",
        "AWS_PROFILE": "production",
        "EXTEND_API_KEY": "sk_live",
    }
    environment = base_environment(
        Path("/home/of/stack"), {**foreign, "PATH": "/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert not [name for name in environment if name.startswith(FOREIGN_PREFIXES)]
    assert environment["PATH"] == "/bin"
    assert environment[HOME_VARIABLE] == "/home/of/stack"
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_environment_excludes_loopback_from_the_callers_proxy() -> None:
    environment = base_environment(
        Path("/home"), {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "example.com"}
    )
    assert environment["HTTP_PROXY"] == "http://proxy:3128"
    assert environment["NO_PROXY"].split(",") == ["example.com", "127.0.0.1", "localhost"]
