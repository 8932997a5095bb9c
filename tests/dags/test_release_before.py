"""A release follows another one: it goes on in the dataset and the workspace that it finds."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pytest

from fixtures.airflow.approvals import RunDag, receipt
from fixtures.airflow.dag_runs import Outside, everything
from fixtures.pipeline.release_before import BUCKET, unpacked, without_new_columns

NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)


@pytest.fixture
def upgraded(outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outside:
    """What the release before has left; its documents still lie where they were."""
    assert unpacked(tmp_path) == outside.warehouse
    outside.s3.bucket(BUCKET)
    for number, name in enumerate(("plain", "review", "passing")):
        outside.s3.put(BUCKET, f"documents/2026-11-19/{name}.txt", receipt(number))
    outside.s3.put(BUCKET, "documents/2026-11-19/empty.txt", b"")
    monkeypatch.setenv("AIRFLOW_VAR_EXTEND_SOURCE", f"s3://{BUCKET}/documents")
    return outside


def test_a_night_goes_on_and_sends_what_is_new_alone(upgraded: Outside, run_dag: RunDag) -> None:
    outside = upgraded
    outside.s3.put(BUCKET, "documents/2026-11-19/new.txt", receipt(9))
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    assert list(outside.extend.stats()["runs_created"].values()) == [1]
    assert outside.rows("SELECT count(*), count(DISTINCT name) FROM extend.documents") == [(5, 5)]
    assert outside.rows("SELECT count(*) FROM extend.claims") == [(1,)]  # another night's, already sent


def test_its_tables_are_rebuilt_after_they_were_lost(upgraded: Outside, run_dag: RunDag) -> None:
    outside = upgraded
    before = everything(outside.warehouse)
    with duckdb.connect(str(outside.warehouse)) as connection:
        connection.execute("DROP SCHEMA extend CASCADE")
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "failed"
    assert outside.extend.stats()["runs_created"] == {}
    assert run_dag("extend_replay", logical_date=None).state == "success"
    after = everything(without_new_columns(outside.warehouse))
    assert {**after, "claims": before["claims"]} == before
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    assert outside.extend.stats()["runs_created"] == {}
