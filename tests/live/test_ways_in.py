"""The three ways in, on a real scheduler and triggerer: the schedule, the form, the backfill."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest

from fixtures.airflow.stack import Live
from fixtures.airflow.timing import RUN_SECONDS, SEEN_SECONDS
from fixtures.airflow.waiting import eventually
from sandbox.documents import Truth, expected_result
from sandbox.stack.client import DagRun, TaskInstance
from sandbox.stack.nightly.job import next_day
from sandbox.stack.nightly.landed import LandedWarehouse
from sandbox.stack.nightly.verify import differences
from sandbox.stack.samples import seed_documents, source_of

NIGHTLY, ON_DEMAND = "extend_nightly", "extend_on_demand"
GROUP = "documents_to_warehouse"
BATCH = "POST /workflow_runs/batch"
WORKFLOW = "workflow_mixed"


@pytest.fixture(autouse=True)
def unpaused_form(live: Live) -> None:
    live.client.wait_for_dag(ON_DEMAND)
    live.client.set_paused(ON_DEMAND, False)


def seeded(live: Live, *days: dt.date, per_day: int = 20) -> list[Truth]:
    live.s3.bucket(source_of(live.settings)[0])
    return seed_documents(live.s3.endpoint_url, live.settings, days, per_day, 5)


def ended(live: Live, run: DagRun) -> DagRun:
    return live.client.wait_for_run(run.dag_id, run.dag_run_id, timeout=RUN_SECONDS)


def assert_landed(live: Live, truths: Sequence[Truth]) -> None:
    """Everything is there as it is in the files, and each document was paid for once."""
    expected = [expected_result(truth, WORKFLOW) for truth in truths]
    with LandedWarehouse(live.warehouse) as warehouse:
        found = list(differences(expected, warehouse.documents(WORKFLOW, "")))
    assert found == []
    paid = live.extend.stats()["runs_created"]
    assert set(paid.values()) == {1}
    assert len(paid) == sum(truth.status != "SKIPPED" for truth in truths)


def tasks(live: Live, run: DagRun, name: str) -> list[TaskInstance]:
    found = live.client.tasks(run.dag_id, run.dag_run_id)
    return [task for task in found if task.task_id.rpartition(".")[2] == name]


def by_hand(live: Live, day: dt.date, **conf: Any) -> DagRun:
    bucket, prefix = source_of(live.settings)
    return live.client.trigger(ON_DEMAND, conf={"source": f"s3://{bucket}/{prefix}{day}/", **conf})


def test_nightly_run_lands_the_documents_of_its_day(live: Live) -> None:
    day = next_day(live.client.wait_for_dag(NIGHTLY))
    truths = seeded(live, day)
    live.client.set_paused(NIGHTLY, False)
    live.extend.configure(latency_seconds=1)
    run = _scheduled(live)
    assert ended(live, run).state == "success", live.client.failed_logs(NIGHTLY, run.dag_run_id)
    live.client.set_paused(NIGHTLY, True)

    assert_landed(live, truths)
    assert live.extend.requests_to(BATCH) == 1
    (finish,) = tasks(live, run, "finish")
    outcome = live.client.xcom(NIGHTLY, run.dag_run_id, finish.task_id)
    assert outcome["discovered"] == len(truths)
    assert outcome["credits"] > 0
    emitted = live.client.get("assets/events", source_dag_id=NIGHTLY, source_run_id=run.dag_run_id)
    told = {event["name"]: event["extra"] for event in emitted["asset_events"]}
    assert told[f"{NIGHTLY}.{GROUP}"]["by_status"] == outcome["by_status"]
    assert told["warehouse_default.extend.documents"]["rows"] == len(truths)


def test_landed_table_starts_a_dag_scheduled_on_it(live: Live) -> None:
    mart, day = "invoice_mart", dt.date(2026, 10, 30)
    live.client.wait_for_dag(mart)
    live.client.set_paused(mart, False)
    seeded(live, day, per_day=6)
    run = by_hand(live, day)
    assert ended(live, run).state == "success", live.client.failed_logs(ON_DEMAND, run.dag_run_id)

    told: dict[str, int] = {}
    deadline = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=SEEN_SECONDS)
    while run.dag_run_id not in told:  # what earlier tests have landed may start it, too
        assert dt.datetime.now(dt.UTC) < deadline, f"{mart} was told of {told} only"
        for caused in live.client.runs(mart, run_type="asset_triggered"):
            assert ended(live, caused).state == "success", live.client.failed_logs(mart, caused.dag_run_id)
            told |= live.client.xcom(mart, caused.dag_run_id, "rebuild")
    live.client.set_paused(mart, True)
    with LandedWarehouse(live.warehouse) as warehouse:
        ((invoices,),) = warehouse.rows("SELECT count(*) FROM extend.invoice")
    assert told[run.dag_run_id] == invoices > 0


def test_manual_run_processes_several_batches_side_by_side(live: Live) -> None:
    day = dt.date(2026, 10, 1)
    truths = seeded(live, day, per_day=40)
    run = by_hand(live, day, chunk_size=12)
    assert ended(live, run).state == "success", live.client.failed_logs(ON_DEMAND, run.dag_run_id)
    assert run.logical_date is None
    assert_landed(live, truths)
    assert live.extend.requests_to(BATCH) == len(tasks(live, run, "wait")) == 4


def test_backfill_of_three_days_lands_each_day(live: Live) -> None:
    days = [dt.date(2026, 9, 1) + dt.timedelta(days=offset) for offset in range(3)]
    truths = seeded(live, *days)
    live.client.set_paused(NIGHTLY, False)
    first, last = (dt.datetime.combine(day, dt.time(), dt.UTC) for day in (days[0], days[-1]))
    backfill = live.client.create_backfill(NIGHTLY, first, last + dt.timedelta(hours=23), max_active_runs=3)
    live.client.wait_for_backfill(backfill, timeout=RUN_SECONDS)
    live.client.set_paused(NIGHTLY, True)

    runs = live.client.runs(NIGHTLY, run_type="backfill")
    assert [run.state for run in runs] == ["success"] * 3
    assert_landed(live, truths)


@pytest.mark.full
def test_two_simultaneous_runs_over_the_same_documents_pay_once(live: Live) -> None:
    day = dt.date(2026, 10, 2)
    truths = seeded(live, day)
    live.extend.configure(latency_seconds=2)
    runs = [by_hand(live, day, chunk_size=7), by_hand(live, day, chunk_size=5)]
    for run in runs:
        assert ended(live, run).state == "success", live.client.failed_logs(ON_DEMAND, run.dag_run_id)
    assert_landed(live, truths)


def test_ui_shows_progress_while_the_batch_waits(live: Live) -> None:
    day = dt.date(2026, 10, 3)
    seeded(live, day)
    live.extend.configure(hold=True)
    run = by_hand(live, day)
    wait = f"{GROUP}.chunk.wait"
    live.client.wait_for_task(ON_DEMAND, run.dag_run_id, wait, ("deferred",), map_index=0)
    where = (ON_DEMAND, run.dag_run_id, wait, "progress", 0)
    eventually(lambda: live.client.xcom(*where) is not None, True)
    progress = live.client.xcom(*where)
    assert progress["settled"] == 0
    assert progress["summary"].startswith("0 of ")
    live.extend.configure(hold=False)
    assert ended(live, run).state == "success"
    after = live.client.xcom(*where)
    assert after["settled"] == after["expected"]


@pytest.mark.parametrize(
    ("conf", "settings", "says"),
    [
        pytest.param({"workflow_id": "workflow_unknown"}, {}, "workflow_unknown", id="unknown workflow"),
        pytest.param({"version": "99"}, {}, "99", id="unknown version"),
        pytest.param({}, {"no_credits": True}, "credits", id="no credits"),
    ],
)
def test_wrong_settings_fail_at_once_and_create_nothing(
    live: Live, conf: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    day = dt.date(2026, 10, 4)
    seeded(live, day, per_day=5)
    live.extend.configure(**settings)
    run = by_hand(live, day, **conf)
    assert ended(live, run).state == "failed"
    tries = [
        (task.state, task.try_number) for name in ("submit", "finish") for task in tasks(live, run, name)
    ]
    assert tries == [("failed", 1), ("failed", 1)]
    (submit,) = tasks(live, run, "submit")
    assert says in live.client.log(submit)
    assert live.extend.stats()["runs_created"] == {}


def _scheduled(live: Live) -> DagRun:
    deadline = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=SEEN_SECONDS)
    while not (runs := live.client.runs(NIGHTLY, run_type="scheduled")):
        assert dt.datetime.now(dt.UTC) < deadline, "the scheduler has started no run"
    return runs[-1]
