"""Tables rebuilt from the raw zone: every row as it was, and Extend is asked nothing."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from extend_pipeline.reviews.approvals import APPROVE
from fixtures.airflow.approvals import RunDag, answered, no_receipt, receipt
from fixtures.airflow.dag_runs import Outside, everything
from fixtures.engines.postgres import Database
from fixtures.warehouse.files import contents, query

NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)
RULES = [
    {"status": "NEEDS_REVIEW", "name_glob": "review*", "first_attempts": 1},
    {"status": "FAILED", "reason": "INTERNAL_ERROR", "name_glob": "passing*", "first_attempts": 1},
    {"status": "FAILED", "reason": "INVALID_WORKFLOW", "name_glob": "failed*", "first_attempts": 1},
]


def canonical(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows with JSON's keys in one order; Postgres has its own."""

    def plain(value: Any) -> Any:
        is_json = isinstance(value, str) and value[:1] in ("{", "[")
        return json.dumps(json.loads(value), sort_keys=True) if is_json else value

    return {name: sorted((tuple(map(plain, row)) for row in rows), key=repr) for name, rows in tables.items()}


def without_findings(*several: dict[str, list[tuple[Any, ...]]]) -> None:
    """Leave out of ledgers what the last load of each part has found: another thing where rows were there."""
    for tables in several:
        tables["loads"] = [row[:7] for row in tables["loads"]]


def asked(outside: Outside) -> dict[str, int]:
    return dict(outside.extend.stats()["requests"])


def command(outside: Outside, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "extend_pipeline", "replay", *arguments],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_id(outside: Outside, name: str) -> str:
    ((found,),) = outside.rows(f"SELECT run_id FROM extend.documents WHERE name = '{name}'")
    return str(found)


@pytest.fixture
def history(outside: Outside, run_dag: RunDag) -> dict[str, list[tuple[Any, ...]]]:
    """Let all happen that can happen to documents, and return the tables that it left."""
    outside.extend.configure(outcomes=RULES)
    night = "documents/2026-11-19/"
    for number, name in enumerate(("plain", "review one", "review two", "passing", "failed")):
        outside.put(f"{night}{name}.txt", receipt(number))
    outside.put(f"{night}empty.txt", b"")
    outside.put(f"{night}program.exe", b"MZ")
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"

    # A reviewer decides on one, another is deleted; what failed is sent again.
    outside.extend.review(run_id(outside, "review one.txt"), "approve", edits={"total": 99.5})
    deleted = run_id(outside, "review two.txt")
    assert outside.extend.call("DELETE", f"/workflow_runs/{deleted}").ok
    assert run_dag("extend_reviews", logical_date=dt.datetime.now(dt.UTC)).state == "success"
    conf = {"reprocess": "failed", "workflow_id": "workflow_mixed"}
    assert run_dag("extend_on_demand", logical_date=None, run_conf=conf).state == "success"

    # The same files go to another workflow, where some of them are held back and approved.
    outside.put("documents/doubtful.txt", no_receipt(1))
    run, _ = answered(outside, run_dag, APPROVE)
    assert run.state == "success"
    landed = everything(outside.warehouse)
    assert len(landed["claims"]) == 0
    check_that_all_has_happened(outside)
    return landed


def check_that_all_has_happened(outside: Outside) -> None:
    found = {
        tuple(row)
        for row in outside.rows(
            """SELECT status, reason, reviewed IS true, approval, approval_by, approval_at IS NOT NULL,
                      repetition <> '', attempts FROM extend.documents"""
        )
    }
    assert {
        ("SKIPPED", "EMPTY_FILE", False, None, None, False, False, 0),
        ("SKIPPED", "UNSUPPORTED_FILE_TYPE", False, None, None, False, False, 0),
        ("NEEDS_REVIEW", "RUN_DELETED", False, None, None, False, False, 1),
        ("PROCESSED", None, True, None, None, False, False, 1),
        ("PROCESSED", None, False, None, None, False, False, 2),
        ("PROCESSED", None, False, None, None, False, True, 2),
        ("PROCESSED", None, False, "APPROVED", "jane", True, False, 1),
    } <= found
    # What a review and an approval have landed once more is not counted once more.
    assert outside.rows(
        """SELECT (SELECT sum(credits) FROM extend.loads) = (SELECT sum(credits) FROM extend.runs),
                  (SELECT sum(credits) FROM extend.loads) > 0"""
    ) == [(True, True)]


@pytest.mark.unit
def test_a_night_is_rebuilt_beside_its_tables_without_a_request(outside: Outside, run_dag: RunDag) -> None:
    for number in range(2):
        outside.put(f"documents/2026-11-19/{number}.txt", receipt(number))
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    before, landed = asked(outside), everything(outside.warehouse)
    assert len(landed["receipt"]) == 2
    run = run_dag("extend_replay", logical_date=None, run_conf={"into_dataset": "rebuilt"})
    assert run.state == "success"
    assert everything(outside.warehouse, "rebuilt") == landed == everything(outside.warehouse)
    assert asked(outside) == before


def test_tables_are_rebuilt_row_by_row_without_a_request(
    outside: Outside,
    run_dag: RunDag,
    history: dict[str, list[tuple[Any, ...]]],
    new_database: Callable[[], Database],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = asked(outside)

    # Beside the tables that are there.
    run = run_dag("extend_replay", logical_date=None, run_conf={"into_dataset": "rebuilt"})
    assert run.state == "success"
    assert everything(outside.warehouse, "rebuilt") == history

    # In place, after the dataset was dropped.
    with duckdb.connect(str(outside.warehouse)) as connection:
        connection.execute("DROP SCHEMA extend CASCADE")
    assert run_dag("extend_replay", logical_date=None).state == "success"
    assert everything(outside.warehouse) == history
    told = command(outside, "--dry-run")
    assert "To be landed: 0 parts" in told

    # Through another connection, from a terminal.
    other = tmp_path / "other.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps({"conn_type": "duckdb", "host": str(other)}))
    told = command(outside, "--into-warehouse-conn-id", "elsewhere")
    assert "have landed in extend.elsewhere; Extend was asked nothing." in told
    assert everything(other) == history

    # Into a warehouse of another kind, that the connection now leads to, and there once more.
    database = new_database()
    wanted = canonical(contents(outside.warehouse))
    for again in (False, True):
        with monkeypatch.context() as other_warehouse:
            other_warehouse.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(database.connection()))
            run = run_dag("extend_replay", logical_date=None, run_conf={"again": again})
        assert run.state == "success"
        moved = canonical(contents(database))
        if again:
            without_findings(moved, wanted)
        assert moved == wanted
        times = "SELECT document_id, workflow_id, landed_at FROM documents ORDER BY ALL"
        assert query(database, times) == query(outside.warehouse, times)

    # A table that was dropped alone, and rows that somebody has changed.
    with duckdb.connect(str(outside.warehouse)) as connection:
        connection.execute("DROP TABLE extend.receipt")
        connection.execute("UPDATE extend.fields SET value = 'changed'")
        connection.execute("DELETE FROM extend.documents WHERE name = 'empty.txt'")
    command(outside)
    assert "receipt" not in everything(outside.warehouse)
    command(outside, "--again")
    healed = everything(outside.warehouse)
    without_findings(healed, history)
    total = "SELECT (SELECT sum(credits) FROM {0}loads), (SELECT sum(credits) FROM {0}runs)"
    for ((counted, charged),) in (outside.rows(total.format("extend.")), query(database, total.format(""))):
        assert counted == charged > 0
    assert healed == history

    assert asked(outside) == before


def test_a_document_lands_once_more_with_the_next_run_and_is_not_sent_again(
    outside: Outside, run_dag: RunDag, history: dict[str, list[tuple[Any, ...]]]
) -> None:
    created = outside.extend.stats()["runs_created"]
    with duckdb.connect(str(outside.warehouse)) as connection:
        connection.execute("DROP SCHEMA extend CASCADE")
    # By tables that have lost what landed, everything would be new.
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "failed"
    assert outside.extend.stats()["runs_created"] == created
    assert run_dag("extend_replay", logical_date=None).state == "success"
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    assert outside.extend.stats()["runs_created"] == created
