"""Whole runs whose documents land in Postgres."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.airflow.dag_runs import Outside
from fixtures.engines.postgres import Database
from sandbox.documents import generate

BATCH = "POST /workflow_runs/batch"
DAY, NIGHT = dt.date(2026, 11, 19), dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)

RunDag = Callable[..., Any]


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    return new_database()


@pytest.fixture
def truth(outside: Outside) -> dict[str, tuple[str, str | None]]:
    """A day's documents in S3, and how each must end."""
    samples = list(generate(days=[DAY], per_day=20, seed=11))
    for sample in samples:
        outside.put(sample.key, sample.data)
    return {sample.key: (sample.truth.status, sample.truth.reason) for sample in samples}


def test_a_night_lands_in_postgres_and_the_same_night_again_sends_nothing(
    outside: Outside,
    run_dag: RunDag,
    database: Database,
    truth: dict[str, tuple[str, str | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(database.connection()))
    for _ in range(2):
        assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
        rows = database.rows("SELECT key, status, reason FROM extend.documents")
        assert {key: (status, reason) for key, status, reason in rows} == truth
        assert len(rows) == len(truth)
    assert outside.extend.requests_to(BATCH) == 1
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    assert database.rows("SELECT count(*) FROM extend.claims") == [(0,)]
    assert not outside.warehouse.exists()


@pytest.mark.full
def test_nothing_is_sent_while_the_warehouse_may_only_be_read(
    outside: Outside,
    run_dag: RunDag,
    database: Database,
    truth: dict[str, tuple[str, str | None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = f"reader_of_{database.name}"
    database.rows(f"CREATE ROLE {reader} LOGIN")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(database.connection(login=reader)))
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "failed"
    assert outside.extend.requests_to(BATCH) == 0
    database.rows(f"GRANT CREATE ON DATABASE {database.name} TO {reader}")
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    assert outside.extend.requests_to(BATCH) == 1
    assert database.rows("SELECT count(*) FROM extend.documents") == [(len(truth),)]
