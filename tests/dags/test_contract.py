"""An extractor's schema has changed since its tables were made: what a run does is the pipeline's choice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from fixtures.airflow.dag_runs import Outside
from sandbox.documents import generate

DAY = dt.date(2026, 11, 19)


def test_a_frozen_schema_fails_the_load_and_another_contract_lands_it(
    outside: Outside, run_dag: Callable[..., Any]
) -> None:
    for sample in generate(days=[DAY], per_day=5, seed=11):
        outside.put(sample.key, sample.data)
    assert run_dag("under_contract", logical_date=None).state == "success"
    ((table, column),) = outside.rows(
        """SELECT table_name, column_name FROM extend.dictionary
           WHERE column_name <> '' AND NOT contains(source_path, 'null') ORDER BY ALL LIMIT 1"""
    )
    with duckdb.connect(str(outside.warehouse)) as connection:  # as if the schema had never had the field
        connection.execute(f'ALTER TABLE extend."{table}" DROP COLUMN "{column}"')
        connection.execute("DELETE FROM extend.dictionary WHERE column_name = ?", [column])
    before = outside.rows("SELECT * FROM extend.loads")

    assert run_dag("under_contract", logical_date=None).state == "failed"
    assert outside.rows("SELECT * FROM extend.loads") == before

    for contract in ("discard", "evolve"):
        conf = {"schema_contract": contract}
        assert run_dag("under_contract", logical_date=None, run_conf=conf).state == "success"
        columns = outside.rows(f"SELECT column_name FROM duckdb_columns() WHERE table_name = '{table}'")
        assert ((column,) in columns) == (contract == "evolve")
    assert outside.rows("SELECT code FROM extend.problems WHERE document_id IS NULL") == [("DISCARDED",)]
    contracts = outside.rows("SELECT schema_contract FROM extend.loads ORDER BY ended_at")
    assert contracts == [("freeze",), ("discard",), ("evolve",)]


@pytest.mark.full
def test_a_part_that_was_refused_blocks_no_replay_and_no_plan(
    outside: Outside, run_dag: Callable[..., Any]
) -> None:
    def landed() -> list[tuple[Any, ...]]:
        return outside.rows("SELECT count(*) FROM extend.loads")

    for sample in generate(days=[DAY], per_day=5, seed=11):
        outside.put(sample.key, sample.data)
    assert run_dag("under_contract", logical_date=None).state == "success"
    ((table, column),) = outside.rows(
        """SELECT table_name, column_name FROM extend.dictionary
           WHERE column_name <> '' AND NOT contains(source_path, 'null') ORDER BY ALL LIMIT 1"""
    )
    with duckdb.connect(str(outside.warehouse)) as connection:
        connection.execute(f'ALTER TABLE extend."{table}" DROP COLUMN "{column}"')
        connection.execute("DELETE FROM extend.dictionary WHERE column_name = ?", [column])
    assert run_dag("under_contract", logical_date=None).state == "failed"
    created = outside.extend.stats()["runs_created"]
    assert landed() == [(1,)]

    # As it was, the contract refuses the part once more: that is counted, and it has its documents.
    run = run_dag("extend_replay", logical_date=None)
    assert run.state == "success"
    (land,) = [ti for ti in run.get_task_instances() if ti.task_id.endswith(".land")]
    assert land.xcom_pull(task_ids=land.task_id)["refused"] == 1
    assert landed() == [(2,)]
    assert outside.rows("SELECT code FROM extend.problems WHERE code = 'SCHEMA_CONTRACT'") != []
    conf = {"schema_contract": "evolve"}
    assert run_dag("under_contract", logical_date=None, run_conf=conf).state == "success"
    assert landed() == [(3,)]  # it plans by tables that are whole
    created = outside.extend.stats()["runs_created"]

    assert run_dag("extend_replay", logical_date=None, run_conf=conf).state == "success"
    assert outside.rows("SELECT code FROM extend.problems WHERE code = 'SCHEMA_CONTRACT'") == []
    assert outside.extend.stats()["runs_created"] == created
