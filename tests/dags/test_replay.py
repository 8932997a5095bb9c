"""Tables rebuilt from the raw zone: every row as it was, and Extend is asked nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from extend_pipeline.__main__ import main
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

#: What loads have counted, and what runs were charged, of a dataset.
CREDITS = "SELECT (SELECT sum(credits) FROM {0}loads), (SELECT sum(credits) FROM {0}runs)"


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


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return the command, which says what it has printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(["replay", *arguments]) == 0
        return capsys.readouterr().out

    return run


def run_id(outside: Outside, name: str) -> str:
    ((found,),) = outside.rows(f"SELECT run_id FROM extend.documents WHERE name = '{name}'")
    return str(found)


@dataclasses.dataclass
class Kept:
    """What the first test with a history leaves for the others of the module.

    :ivar rows: all that has landed; empty until then.
    """

    folder: Path
    rows: dict[str, list[tuple[Any, ...]]] = dataclasses.field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def keep(self, outside: Outside, rows: dict[str, list[tuple[Any, ...]]]) -> None:
        self.rows = rows
        shutil.copy(outside.warehouse, self.folder / "warehouse.duckdb")
        shutil.copytree(self.workspace, self.folder / "pristine")

    def restore(self, outside: Outside) -> None:
        """Put back warehouse and workspace, at the same address: the tables name it."""
        shutil.copy(self.folder / "warehouse.duckdb", outside.warehouse)
        shutil.rmtree(self.workspace)
        shutil.copytree(self.folder / "pristine", self.workspace)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("history"))


@pytest.fixture
def new_history(
    outside: Outside, run_dag: RunDag, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[tuple[Any, ...]]]:
    """The tables of a history that S3 and Extend still know."""
    monkeypatch.setenv("AIRFLOW_VAR_EXTEND_WORKSPACE", f"file://{kept.workspace}")
    rows = make_history(outside, run_dag)
    kept.keep(outside, rows)
    return rows


@pytest.fixture
def history(
    outside: Outside, kept: Kept, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[tuple[Any, ...]]]:
    """The tables of a history, of which only warehouse and workspace are left."""
    monkeypatch.setenv("AIRFLOW_VAR_EXTEND_WORKSPACE", f"file://{kept.workspace}")
    if not kept.rows:
        request.getfixturevalue("new_history")
    kept.restore(outside)
    return kept.rows


def make_history(outside: Outside, run_dag: RunDag) -> dict[str, list[tuple[Any, ...]]]:
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


def drop(outside: Outside) -> None:
    with duckdb.connect(str(outside.warehouse)) as connection:
        connection.execute("DROP SCHEMA extend CASCADE")


def test_tables_are_rebuilt_row_by_row_and_nothing_is_sent_again(
    outside: Outside, run_dag: RunDag, new_history: dict[str, list[tuple[Any, ...]]]
) -> None:
    before, created = asked(outside), outside.extend.stats()["runs_created"]

    # Beside the tables that are there.
    run = run_dag("extend_replay", logical_date=None, run_conf={"into_dataset": "rebuilt"})
    assert run.state == "success"
    assert everything(outside.warehouse, "rebuilt") == new_history
    assert asked(outside) == before

    # In place, after the dataset was dropped: by tables that have lost what landed, everything would be new.
    drop(outside)
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "failed"
    asked_by_night = asked(outside)
    assert outside.extend.stats()["runs_created"] == created
    assert run_dag("extend_replay", logical_date=None).state == "success"
    assert everything(outside.warehouse) == new_history
    assert asked(outside) == asked_by_night

    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    assert outside.extend.stats()["runs_created"] == created


def test_from_a_terminal_tables_are_rebuilt_elsewhere_and_changed_rows_are_healed(
    outside: Outside,
    history: dict[str, list[tuple[Any, ...]]],
    command: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = asked(outside)
    assert "To be landed: 0 parts" in command("--dry-run")
    other = tmp_path / "other.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps({"conn_type": "duckdb", "host": str(other)}))
    told = command("--into-warehouse-conn-id", "elsewhere")
    assert "have landed in extend.elsewhere; Extend was asked nothing." in told
    assert everything(other) == history

    # A table that was dropped alone, and rows that somebody has changed.
    with duckdb.connect(str(outside.warehouse)) as connection:
        connection.execute("DROP TABLE extend.receipt")
        connection.execute("UPDATE extend.fields SET value = 'changed'")
        connection.execute("DELETE FROM extend.documents WHERE name = 'empty.txt'")
    command()
    assert "receipt" not in everything(outside.warehouse)
    command("--again")
    healed, wanted = everything(outside.warehouse), dict(history)
    without_findings(healed, wanted)
    ((counted, charged),) = outside.rows(CREDITS.format("extend."))
    assert counted == charged > 0
    assert healed == wanted
    assert asked(outside) == before


@pytest.mark.full
def test_a_warehouse_of_another_kind_is_filled_and_filled_once_more(
    outside: Outside,
    run_dag: RunDag,
    history: dict[str, list[tuple[Any, ...]]],
    new_database: Callable[[], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, database = asked(outside), new_database()
    wanted = canonical(contents(outside.warehouse))
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(database.connection()))
    for again in (False, True):
        run = run_dag("extend_replay", logical_date=None, run_conf={"again": again})
        assert run.state == "success"
        moved = canonical(contents(database))
        if again:
            without_findings(moved, wanted)
        assert moved == wanted
        times = "SELECT document_id, workflow_id, landed_at FROM documents ORDER BY ALL"
        assert query(database, times) == query(outside.warehouse, times)
    ((counted, charged),) = query(database, CREDITS.format(""))
    assert counted == charged > 0
    assert asked(outside) == before
