"""An extractor's schema has changed since its tables were made: what a run does is the pipeline's choice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import duckdb

from fixtures.dag_runs import Outside
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
