"""What a run has landed is in the copy for readers when it ends, however it ends."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fixtures.airflow.dag_runs import Outside
from sandbox.documents import generate

DAY = dt.date(2026, 11, 19)
#: When the night that processes DAY begins.
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)

RunDag = Callable[..., Any]


@pytest.fixture
def snapshot(outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "readers" / "warehouse.duckdb"
    connection = {"conn_type": "duckdb", "host": str(outside.warehouse), "extra": {"snapshot": str(copy)}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(connection))
    return copy


def counts(file: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(
            "SELECT status, count(*), count(run_id) FROM extend.documents GROUP BY ALL ORDER BY ALL"
        ).fetchall()


def put(outside: Outside, day: dt.date) -> None:
    for sample in generate(days=[day], per_day=12, seed=11):
        outside.put(sample.key, sample.data)


def test_a_run_ends_with_its_documents_in_the_copy(outside: Outside, run_dag: RunDag, snapshot: Path) -> None:
    for days in (0, 1):
        put(outside, DAY + dt.timedelta(days))
        assert run_dag("extend_nightly", logical_date=NIGHT + dt.timedelta(days)).state == "success"
        assert sum(count for _, count, _ in counts(snapshot)) == 12 * (days + 1)
        assert counts(snapshot) == counts(outside.warehouse)


def test_a_run_that_fails_for_what_became_of_its_documents_has_published_them(
    outside: Outside, run_dag: RunDag, snapshot: Path
) -> None:
    outside.extend.configure(
        outcomes=[{"status": "FAILED", "reason": "INTERNAL_ERROR", "name_glob": "bad.txt"}]
    )
    for name in ("good", "bad"):
        outside.put(f"documents/{DAY}/{name}.txt", f"Receipt {name}\nTotal: 3.00 EUR\n".encode())
    run = run_dag("persistent", logical_date=None, run_conf={"max_failed": 0, "max_attempts": 1})
    assert run.state == "failed"
    assert counts(snapshot) == [("FAILED", 1, 1), ("PROCESSED", 1, 1)]
