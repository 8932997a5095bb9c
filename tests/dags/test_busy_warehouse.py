"""A task that meets a warehouse which others keep busy waits without a worker, and loses no retry."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fixtures.airflow.dag_runs import Outside
from fixtures.tiers import FULL
from fixtures.warehouse.holder import holding
from sandbox.documents import generate

DAY = dt.date(2026, 11, 19)
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)


class Held:
    """Another process opens the warehouse's file when a task begins, and has it for a while."""

    def __init__(self, outside: Outside, seconds: float) -> None:
        self.starts = 0
        self._file, self._seconds = outside.warehouse, seconds
        self._opened = contextlib.ExitStack()

    def __call__(self) -> None:
        self.starts += 1
        if self.starts == 1:
            holder = self._opened.enter_context(holding(self._file))
            assert holder.stdin is not None
            release = threading.Timer(self._seconds, holder.stdin.close)
            release.start()
            self._opened.callback(release.join)

    def end(self) -> None:
        self._opened.close()


@pytest.fixture
def held(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    extra = {"lock_timeout": 0.1, "snapshot": f"{outside.warehouse}.read"}
    connection = {"conn_type": "duckdb", "host": str(outside.warehouse), "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(connection))
    monkeypatch.setattr("extend_pipeline.dag.conventions.BUSY_PAUSE", 0.2)
    held = Held(outside, seconds=1.5)
    yield held
    held.end()


@pytest.mark.parametrize("task", ["plan", pytest.param("load", marks=FULL), "finish"])
def test_a_task_of_a_night_waits_for_its_warehouse(
    outside: Outside, run_dag: Callable[..., Any], held: Held, task: str
) -> None:
    for sample in generate(days=[DAY], per_day=6, seed=11):
        outside.put(sample.key, sample.data)
    run = run_dag("extend_nightly", logical_date=NIGHT, before={task: held})
    assert run.state == "success"
    assert held.starts > 1
    assert {ti.try_number for ti in run.get_task_instances() if ti.task_id.endswith(task)} == {1}
    assert len(outside.statuses()) == 6


@pytest.mark.parametrize("task", [pytest.param("find", marks=FULL), "land"])
def test_a_replay_waits_for_its_warehouse(
    outside: Outside, run_dag: Callable[..., Any], held: Held, task: str
) -> None:
    for sample in generate(days=[DAY], per_day=6, seed=11):
        outside.put(sample.key, sample.data)
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    run = run_dag("extend_replay", logical_date=None, run_conf={"again": True}, before={task: held})
    assert run.state == "success"
    assert held.starts > 1
    assert len(outside.statuses()) == 6


def test_a_task_waits_for_a_day_and_then_fails_with_what_to_do(
    outside: Outside, run_dag: Callable[..., Any], held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sample in generate(days=[DAY], per_day=2, seed=11):
        outside.put(sample.key, sample.data)
    failures: list[BaseException] = []
    monkeypatch.setattr("extend_pipeline.dag.conventions.LONGEST_WAIT", dt.timedelta(seconds=0.5))
    monkeypatch.setattr(
        "fixtures.airflow.dag_runs._tell", lambda context: failures.append(context["exception"])
    )
    run = run_dag("extend_nightly", logical_date=NIGHT, before={"plan": held})
    assert run.state == "failed"
    assert any("Clear this task to wait for another day" in str(failure) for failure in failures)
    assert outside.extend.requests_to("POST /workflow_runs/batch") == 0
