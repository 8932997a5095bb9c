"""What a run tells other DAGs and lineage about the tables it has written."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.airflow.dag_runs import Outside
from sandbox.documents import generate

DAY = dt.date(2026, 11, 19)
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)

RunDag = Callable[..., Any]


def fill(outside: Outside) -> None:
    for sample in generate(days=[DAY], per_day=10, seed=11):
        outside.put(sample.key, sample.data)


def events_of(run: Any) -> dict[str, dict[str, Any]]:
    """What the run's events say, by asset."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        events = session.scalars(
            select(AssetEvent).where(
                AssetEvent.source_run_id == run.run_id, AssetEvent.source_dag_id == run.dag_id
            )
        ).all()
        return {event.asset.name: event.extra for event in events}


def test_a_run_tells_what_it_wrote_to_each_table(outside: Outside, run_dag: RunDag) -> None:
    fill(outside)
    told = events_of(run_dag("extend_nightly", logical_date=NIGHT))

    tables = {
        table
        for (table,) in outside.rows("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'extend'")
        if table not in ("loads", "_schema_version")
        and outside.rows(f"SELECT count(*) FROM extend.{table}") != [(0,)]
    }
    group = told.pop("extend_nightly.documents_to_warehouse")
    assert set(told) == {f"warehouse_default.extend.{table}" for table in tables}
    assert {"documents", "invoice", "receipt", "runs", "fields"} <= tables
    for name, extra in told.items():
        table = name.rpartition(".")[2]
        assert outside.rows(f"SELECT count(*) FROM extend.{table}") == [(extra["rows"],)], table
        assert extra["documents"] == sum(group["by_status"].values()) == len(outside.statuses())
        assert extra["credits"] == group["credits"] > 0
        assert extra["workflow_id"] == "workflow_mixed"


def test_a_run_that_lands_nothing_announces_no_table(outside: Outside, run_dag: RunDag) -> None:
    told = events_of(run_dag("extend_nightly", logical_date=NIGHT))
    assert set(told) == {"extend_nightly.documents_to_warehouse"}


@pytest.mark.full
@pytest.mark.timeout(240)
def test_openlineage_hears_of_the_prefix_and_the_tables(outside: Outside, tmp_path: Path) -> None:
    """The lineage provider in a process of its own, as it reads its transport once, when Airflow starts."""
    fill(outside)
    heard = tmp_path / "lineage.jsonl"
    transport = {"type": "file", "log_file_path": str(heard), "append": True}
    ended = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", "extend_nightly", NIGHT.isoformat()],
        env={**os.environ, "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)},
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    events = [json.loads(line) for line in heard.read_text().splitlines()]
    ends = {e["job"]["name"]: e for e in events if e["eventType"] == "COMPLETE"}
    load = ends["extend_nightly.documents_to_warehouse.chunk.load"]
    # Airflow itself adds the workspace's files that the task has opened, and cuts the slash at the end.
    inputs = {(found["namespace"], found["name"]) for found in load["inputs"] if found["namespace"] != "file"}
    days = [DAY - dt.timedelta(days=back) for back in range(4)]
    assert inputs == {(f"s3://{outside.bucket}", f"documents/{day}") for day in days}
    outputs = {found["name"]: found for found in load["outputs"]}
    assert {f"warehouse.extend.{table}" for table in ("documents", "invoice", "fields")} <= set(outputs)
    assert {found["namespace"] for found in outputs.values()} == {f"duckdb://{outside.warehouse}"}
    tags = outputs["warehouse.extend.invoice"]["facets"]["tags"]["tags"]
    assert {(tag["key"], tag["value"]) for tag in tags} == {
        ("workflow_id", "workflow_mixed"),
        ("workflow_version", "latest"),
    }
