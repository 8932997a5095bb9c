"""The same documents by two ways in, and by one way twice."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import pytest

from fixtures.airflow.lanes import NIGHTLY
from fixtures.airflow.scenario import BATCH, DAY, GROUP, Scenario
from fixtures.airflow.timing import RUN_SECONDS
from fixtures.tiers import FULL
from sandbox.stack.client import AirflowApiError, Backfill, DagRun


def backfill(
    scenario: Scenario, days: list[dt.date], reprocess: Literal["none", "completed"] = "none"
) -> Backfill:
    begin, end = (dt.datetime.combine(day, dt.time(2), dt.UTC) for day in (days[0], days[-1]))
    return scenario.client.create_backfill(scenario.lane.dag_id(NIGHTLY), begin, end, reprocess=reprocess)


def nights(scenario: Scenario, days: list[dt.date]) -> list[DagRun]:
    runs = scenario.client.runs(scenario.lane.dag_id(NIGHTLY))
    return [run for run in runs if run.data_interval_start and run.data_interval_start.date() in days]


@pytest.mark.parametrize("limit", [pytest.param(None, marks=FULL), 1], ids=["all", "one document"])
def test_nightly_and_manual_runs_at_once_send_each_document_once(
    scenario: Scenario, limit: int | None
) -> None:
    """The first plan reserves the documents, the second reports them as taken; each is sent once."""
    truths = scenario.seed(30)
    scenario.extend.configure(hold=True)
    nightly = backfill(scenario, [DAY])
    manual = scenario.start(chunk_size=7, limit=limit)
    scenario.wait_until(lambda: nights(scenario, [DAY]), "the night's run")
    for run in (*nights(scenario, [DAY]), manual):
        scenario.task(run, "plan", "success")
    scenario.extend.configure(hold=False)
    scenario.client.wait_for_backfill(nightly, timeout=RUN_SECONDS)
    night, manual = scenario.succeed(*nights(scenario, [DAY]), manual)
    assert night.start_date is not None
    assert manual.start_date is not None
    assert night.end_date is not None
    assert manual.end_date is not None
    assert max(night.start_date, manual.start_date) < min(night.end_date, manual.end_date), "at work at once"
    scenario.verdict(truths, night, manual, posts=None)
    plans = [
        scenario.client.xcom(run.dag_id, run.dag_run_id, f"{GROUP}.plan", "plan") for run in (night, manual)
    ]
    sent = sum(plan["to_send"] for plan in plans)
    assert sent == sum(truth.status != "SKIPPED" for truth in truths)
    shared = sum(sum(plan["theirs"].values()) + plan["held"] + plan["already_landed"] for plan in plans)
    assert shared >= (sent if limit is None else 1), "the later plan has found what the earlier one has"


@pytest.mark.long
def test_second_and_reprocessed_backfills_pay_nothing_more(scenario: Scenario) -> None:
    days = [DAY + dt.timedelta(days=offset) for offset in (5, 6)]
    truths = scenario.seed(16, *days)
    scenario.extend.configure(hold=True)
    first = backfill(scenario, days)
    with pytest.raises(AirflowApiError, match="409"):  # Airflow's own guard, while the first one is at work
        backfill(scenario, days)
    scenario.extend.configure(hold=False)
    scenario.client.wait_for_backfill(first, timeout=RUN_SECONDS)
    runs = scenario.succeed(*nights(scenario, days))
    assert len(runs) == 2

    scenario.client.wait_for_backfill(backfill(scenario, days), timeout=RUN_SECONDS)
    assert [run.start_date for run in nights(scenario, days)] == [run.start_date for run in runs]

    scenario.client.wait_for_backfill(backfill(scenario, days, "completed"), timeout=RUN_SECONDS)
    again = scenario.succeed(*nights(scenario, days))
    assert [run.start_date for run in again] != [run.start_date for run in runs], "nothing was done again"
    assert scenario.extend.requests_to(BATCH) == 2
    scenario.verdict(truths, *again, posts=2)
