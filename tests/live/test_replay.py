"""Tables rebuilt by the form as it stands, on a real scheduler and worker, and killed in the middle of it."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from extend_pipeline.planning.replay import ReplaySettings, parts_of
from fixtures.airflow.dag_runs import everything
from fixtures.airflow.stack import Live
from fixtures.airflow.timing import RUN_SECONDS
from fixtures.airflow.waiting import eventually
from sandbox.stack.client import DagRun
from sandbox.stack.samples import seed_documents, source_of

ON_DEMAND, REPLAY, LAND = "extend_on_demand", "extend_replay", "replay_to_warehouse.land"
DAY = dt.date(2026, 10, 9)


@pytest.fixture
def parts(live: Live) -> list[Path]:
    """Let documents land in several parts; return the files of their answers in the order of a replay."""
    for dag_id in (ON_DEMAND, REPLAY):
        live.client.wait_for_dag(dag_id)
        live.client.set_paused(dag_id, False)
    bucket, prefix = source_of(live.settings)
    live.s3.bucket(bucket)
    seed_documents(live.s3.endpoint_url, live.settings, [DAY], 20, 5)
    run = live.client.trigger(ON_DEMAND, conf={"source": f"s3://{bucket}/{prefix}{DAY}/", "chunk_size": 4})
    succeed(live, run)
    settings = ReplaySettings.from_rendered({"workspace": f"file://{live.workspace}"})
    return [Path(entry.part.uri.removeprefix("file://")) for entry in parts_of(settings)]


def test_replay_rebuilds_tables_from_the_form_and_after_a_kill(live: Live, parts: list[Path]) -> None:
    before, asked = everything(live.warehouse), live.extend.stats()["requests"]
    assert len(parts) >= 4

    drop_tables(live)
    succeed(live, live.client.trigger(REPLAY))
    assert everything(live.warehouse) == before

    drop_tables(live)
    half = len(parts) // 2
    with stuck_at(parts[half]):
        run = live.client.trigger(REPLAY)
        land = live.client.wait_for_task(REPLAY, run.dag_run_id, LAND, ("running",))
        eventually(lambda: f" {half} of {len(parts)}: " in live.client.log(land), True)
        path = f"dags/{REPLAY}/dagRuns/{run.dag_run_id}/taskInstances/{LAND}"
        psutil.Process(live.client.get(path)["pid"]).kill()
        live.client.wait_for_task(REPLAY, run.dag_run_id, LAND, ("up_for_retry",))
    with duckdb.connect(str(live.warehouse), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM extend.loads").fetchall() == [(half,)]
    live.client.clear_tasks(REPLAY, run.dag_run_id, [LAND])  # it would wait a minute for its retry
    succeed(live, run)
    assert live.client.xcom(REPLAY, run.dag_run_id, LAND)["parts"] == len(parts) - half
    assert everything(live.warehouse) == before

    assert live.extend.stats()["requests"] == asked


def succeed(live: Live, run: DagRun) -> None:
    ended = live.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=RUN_SECONDS)
    assert ended.state == "success", live.client.failed_logs(run.dag_id, run.dag_run_id)


def drop_tables(live: Live) -> None:
    with duckdb.connect(str(live.warehouse)) as connection:
        connection.execute("DROP SCHEMA extend CASCADE")


@contextlib.contextmanager
def stuck_at(file: Path) -> Iterator[None]:
    """Replace a file by a pipe without a writer, so that opening it blocks for the block."""
    aside = file.with_suffix(".aside")
    file.rename(aside)
    os.mkfifo(file)
    try:
        yield
    finally:
        aside.replace(file)
