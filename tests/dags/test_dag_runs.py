"""The three ways in (nightly, by hand, backfill), each run whole in this process against the stand-ins."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests

from fixtures.airflow.dag_runs import Outside
from sandbox.documents import generate

BATCH = "POST /workflow_runs/batch"
DAY = dt.date(2026, 11, 19)
#: When the night that processes DAY begins: at the end of the interval that DAY begins.
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)

RunDag = Callable[..., Any]


@functools.cache
def samples(days: tuple[dt.date, ...], per_day: int) -> list[Any]:
    """Return the documents of some days; they are made once, because most tests take the same ones."""
    return list(generate(days=days, per_day=per_day, seed=11))


def fill(outside: Outside, *days: dt.date, per_day: int = 20) -> dict[str, tuple[str, str | None]]:
    """Put a day's documents into S3; return how each must end."""
    truth: dict[str, tuple[str, str | None]] = {}
    for sample in samples(days, per_day=per_day):
        outside.put(sample.key, sample.data)
        truth[sample.key] = (sample.truth.status, sample.truth.reason)
    return truth


def test_a_night_lands_every_document_of_its_day_once_however_often_it_runs(
    outside: Outside, run_dag: RunDag
) -> None:
    truth = fill(outside, DAY)
    outside.put("documents/2026-11-15/other.txt", b"another day")
    for _ in range(2):
        assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
        assert outside.statuses() == truth
        assert set(outside.extend.stats()["runs_created"].values()) == {1}
        assert outside.extend.requests_to(BATCH) == 1

    before = Counter(outside.extend.stats()["runs_created"])
    outside.put("documents/2026-11-19/late.txt", b"Receipt\nTotal: 3.00 EUR\n")
    run_dag("extend_nightly", logical_date=NIGHT)
    assert (Counter(outside.extend.stats()["runs_created"]) - before).total() == 1
    assert outside.statuses() == {**truth, "documents/2026-11-19/late.txt": ("PROCESSED", None)}


def test_an_empty_day_is_a_success_without_a_request(outside: Outside, run_dag: RunDag) -> None:
    run = run_dag("extend_nightly", logical_date=NIGHT)
    assert run.state == "success"
    assert outside.extend.requests_to(BATCH) == 0


def test_a_run_without_a_date_takes_the_day_it_runs_on(outside: Outside, run_dag: RunDag) -> None:
    today = dt.datetime.now(dt.UTC).date()
    truth = fill(outside, today)
    run = run_dag("extend_nightly", logical_date=None, run_after=dt.datetime.now(dt.UTC))
    assert run.state == "success"
    assert run.logical_date is None
    assert outside.statuses() == truth


def on_demand(outside: Outside, **conf: Any) -> dict[str, Any]:
    return {"source": f"s3://{outside.bucket}/documents/{DAY}/", **conf}


@pytest.mark.unit
def test_by_hand_a_list_of_addresses_lands(outside: Outside, run_dag: RunDag) -> None:
    truth = fill(outside, DAY)
    chosen = [key for key, (status, _) in truth.items() if status == "PROCESSED"][:2]
    lines = "\n".join(f"s3://{outside.bucket}/{key}" for key in chosen)
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside, source=lines))
    assert run.state == "success"
    assert set(outside.statuses()) == set(chosen)


def test_by_hand_a_prefix_lands_in_steps_and_only_reprocess_sends_again(
    outside: Outside, run_dag: RunDag
) -> None:
    def run(**conf: Any) -> None:
        ended = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside, **conf))
        assert ended.state == "success"

    truth = fill(outside, DAY)
    run(dry_run=True)
    assert outside.extend.requests_to(BATCH) == 0
    assert outside.statuses() == {}

    run(limit=3)
    assert sum(outside.extend.stats()["runs_created"].values()) == 3
    run()
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    assert outside.statuses() == truth

    run(reprocess="all")
    assert set(outside.extend.stats()["runs_created"].values()) == {2}
    assert outside.statuses() == truth


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Bodies of the batches that leave this process."""
    bodies: list[dict[str, Any]] = []
    send = requests.adapters.HTTPAdapter.send

    def recorded(adapter: Any, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        if request.path_url == "/workflow_runs/batch":
            bodies.append(json.loads(request.body or ""))
        return send(adapter, request, *args, **options)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", recorded)
    return bodies


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"version": "1", "priority": 5}, ({"id": "workflow_invoices", "version": "1"}, 5)),
        ({}, ({"id": "workflow_invoices"}, None)),
    ],
    ids=["chosen", "left out"],
)
def test_version_and_priority_reach_extend(
    outside: Outside, run_dag: RunDag, sent: list[dict[str, Any]], chosen: dict[str, Any], expected: Any
) -> None:
    outside.put(f"documents/{DAY}/a.txt", b"Receipt\nTotal: 3.00 EUR\n")
    conf = on_demand(outside, workflow_id="workflow_invoices", **chosen)
    assert run_dag("extend_on_demand", logical_date=None, run_conf=conf).state == "success"
    assert [(body["workflow"], body.get("priority")) for body in sent] == [expected]
    asked = "SELECT DISTINCT workflow_id, workflow_version_requested FROM extend.documents"
    assert outside.rows(asked) == [("workflow_invoices", chosen.get("version", ""))]


@pytest.mark.parametrize(
    "conf",
    [
        pytest.param({"workflow_id": "workflow_unknown"}, id="unknown workflow"),
        pytest.param({"version": "99"}, id="unknown version"),
        pytest.param({"source": "s3://no-such-bucket-here/p/"}, id="no such bucket"),
    ],
)
def test_what_cannot_work_fails_before_anything_is_created(
    outside: Outside, run_dag: RunDag, conf: dict[str, Any]
) -> None:
    outside.put(f"documents/{DAY}/a.txt", b"Receipt\nTotal: 3.00 EUR\n")
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside, **conf))
    assert run.state == "failed"
    assert outside.extend.stats()["runs_created"] == {}


def test_a_wrong_key_creates_nothing(
    outside: Outside, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside.put(f"documents/{DAY}/a.txt", b"Receipt\nTotal: 3.00 EUR\n")
    connection = json.loads(outside.extend.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", json.dumps({**connection, "password": "sk_wrong"}))
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))
    assert run.state == "failed"
    assert outside.extend.stats()["runs_created"] == {}


#: Columns that differ between two landings of the same documents: ids that Extend gives, places, times.
OF_ONE_LANDING = re.compile(
    r".*\.((dag_|step_|processor_)?run_id|batch_id|file_id|dashboard_url|raw_uri|\w+_at)|loads\.(part|rows_by_table)"
)
#: Columns of which the older API version tells less, or in other words.
OF_ONE_VERSION = re.compile(
    r"fields\.cell_range|runs\.usage|steps\.(step_type|step_name|processor_id|processor_version)"
)


def landed_values(warehouse: Path) -> dict[str, list[str]]:
    """Return the rows of every table without what differs between two landings of the same documents."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        columns: dict[str, list[str]] = {}
        for table, column in connection.execute(
            """SELECT table_name, column_name FROM duckdb_columns()
               WHERE schema_name = 'extend' AND NOT internal AND NOT starts_with(table_name, '_')
               AND table_name IN (SELECT table_name FROM duckdb_tables())"""
        ).fetchall():
            name = f"{table}.{column}"
            if not OF_ONE_LANDING.fullmatch(name) and not OF_ONE_VERSION.fullmatch(name):
                columns.setdefault(table, []).append(f'"{column}"')
        return {
            table: sorted(
                map(repr, connection.execute(f"SELECT {', '.join(names)} FROM extend.{table}").fetchall())
            )
            for table, names in columns.items()
        }


def test_both_api_versions_land_the_same_tables(
    outside: Outside, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    truth = fill(outside, DAY)
    landed = []
    for version in ("2026-02-09", "2025-04-21"):
        outside.extend.reset()
        warehouse = tmp_path / f"{version}.duckdb"
        connection = json.dumps({"conn_type": "duckdb", "host": str(warehouse)})
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", connection)
        monkeypatch.setenv("AIRFLOW_VAR_EXTEND_WORKSPACE", f"file://{tmp_path / version}")
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", outside.extend.connection_json(version))
        assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
        assert dataclasses.replace(outside, warehouse=warehouse).statuses() == truth
        landed.append(landed_values(warehouse))
    for table in landed[0]:
        assert landed[0][table] == landed[1][table], table
    assert landed[0].keys() == landed[1].keys()
    assert landed[0]["invoice"]


def test_a_backfilled_day_and_its_night_share_their_documents(outside: Outside, run_dag: RunDag) -> None:
    days = [DAY + dt.timedelta(days=offset) for offset in range(3)]
    truth = fill(outside, *days)
    for day in reversed(days):
        run_dag("extend_nightly", logical_date=NIGHT + (day - DAY))
    run_dag("extend_on_demand", logical_date=None, run_conf={"source": f"s3://{outside.bucket}/documents/"})
    assert outside.statuses() == truth
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def overlapping(outside: Outside, run_dag: RunDag, *, dies_at: str) -> None:
    """Let a run plan and then die before ``dies_at`` has done anything."""
    conf = on_demand(outside, chunk_size=7)
    assert run_dag("extend_on_demand", logical_date=None, run_conf=conf, dies_at=dies_at).state == "failed"
    assert outside.rows("SELECT count(*) > 0 FROM extend.claims") == [(True,)]


@pytest.mark.parametrize("dies_at", ["submit", "wait", "load"])
def test_what_a_dead_run_has_planned_is_finished_by_the_next_one(
    outside: Outside, run_dag: RunDag, dies_at: str
) -> None:
    truth = fill(outside, DAY)
    overlapping(outside, run_dag, dies_at=dies_at)
    late = outside.put(f"documents/{DAY}/late.txt", b"Receipt\nTotal: 3.00 EUR\n")
    run = run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))

    assert run.state == "success"
    assert set(outside.statuses()) == {*truth, late.removeprefix(f"s3://{outside.bucket}/")}
    assert {key: ended for key, ended in outside.statuses().items() if key in truth} == truth
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    assert outside.rows("SELECT count(*) FROM extend.claims") == [(0,)]


def test_what_happens_to_an_object_after_its_discovery_is_its_own_affair(
    outside: Outside, run_dag: RunDag
) -> None:
    for name in ("kept", "deleted", "replaced"):
        outside.put(f"documents/{DAY}/{name}.txt", f"Receipt {name}\nTotal: 3.00 EUR\n".encode())

    def meanwhile() -> None:
        outside.s3.client.delete_object(Bucket=outside.bucket, Key=f"documents/{DAY}/deleted.txt")
        outside.put(f"documents/{DAY}/replaced.txt", b"Receipt, a new one\nTotal: 4.00 EUR\n")

    run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside), before={"submit": meanwhile})
    assert outside.statuses() == {
        f"documents/{DAY}/kept.txt": ("PROCESSED", None),
        f"documents/{DAY}/deleted.txt": ("FAILED", "OBJECT_DELETED"),
        f"documents/{DAY}/replaced.txt": ("SKIPPED", "OBJECT_REPLACED"),
    }
    assert sum(outside.extend.stats()["runs_created"].values()) == 1

    run_dag("extend_on_demand", logical_date=None, run_conf=on_demand(outside))
    replaced = "SELECT status FROM extend.documents WHERE name = 'replaced.txt' ORDER BY landed_at"
    assert outside.rows(replaced) == [("SKIPPED",), ("PROCESSED",)]


def test_a_presigned_url_that_ended_before_extend_read_it_is_replaced_by_a_fresh_one(
    outside: Outside, run_dag: RunDag
) -> None:
    outside.put("documents/slow.txt", b"Receipt\nTotal: 3.00 EUR\n")
    outside.extend.configure(hold=True)

    def release_too_late() -> None:
        while not outside.extend.requests_to(BATCH):
            time.sleep(0.2)
        time.sleep(6)
        outside.extend.configure(hold=False)

    release = threading.Thread(target=release_too_late, daemon=True)
    release.start()
    run = run_dag("hasty", logical_date=None)
    release.join()

    assert run.state == "success"
    assert outside.rows("SELECT name, status, attempts FROM extend.documents") == [
        ("slow.txt", "PROCESSED", 2)
    ]
    ((reason, message),) = outside.rows("SELECT reason, message FROM extend.runs WHERE status = 'FAILED'")
    assert reason == "FAILED_TO_PROCESS_FILE"
    assert "403" in message
    assert "Signature" not in message
