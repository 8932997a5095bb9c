"""A night looks back a few days; a backfill reads each day, the last one too."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline import day_folders
from extend_pipeline.planning.plan import Plan
from fixtures.airflow.dag_runs import Outside
from fixtures.pipeline.other_runs import plan_of_another_run

RunDag = Callable[..., Any]

ROOT = Path(__file__).parents[2]
DAY = dt.date(2026, 11, 19)
#: When the night that processes DAY begins.
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)
ONE_DAY = dt.timedelta(days=1)


def put(outside: Outside, day: dt.date, *names: str) -> None:
    for name in names:
        outside.put(f"documents/{day}/{name}.txt", f"Receipt {day} {name}\nTotal: 3.00 EUR\n".encode())


def landed(outside: Outside) -> set[str]:
    return {key.removeprefix("documents/").removesuffix(".txt") for key in outside.statuses()}


def times_paid(outside: Outside) -> list[int]:
    return sorted(outside.extend.stats()["runs_created"].values())


def test_what_arrives_late_is_found_by_the_next_night_and_nothing_is_paid_twice(
    outside: Outside, run_dag: RunDag, caplog: pytest.LogCaptureFixture
) -> None:
    put(outside, DAY, "early")
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    put(outside, DAY, "late")
    put(outside, DAY - 2 * ONE_DAY, "later")
    put(outside, DAY - 3 * ONE_DAY, "too_late")
    put(outside, DAY + ONE_DAY, "next")
    put(outside, DAY + 2 * ONE_DAY, "not_yet")
    with caplog.at_level("INFO", logger="extend_pipeline.dag.tasks"):
        assert run_dag("extend_nightly", logical_date=NIGHT + ONE_DAY).state == "success"
    assert landed(outside) == {
        f"{DAY}/early",
        f"{DAY}/late",
        f"{DAY - 2 * ONE_DAY}/later",
        f"{DAY + ONE_DAY}/next",
    }
    assert times_paid(outside) == [1] * 4
    days = [DAY + back * ONE_DAY for back in (-2, -1, 0, 1)]
    folders = ", ".join(f"s3://{outside.bucket}/documents/{day}/" for day in days)
    assert f"Reading {folders}." in caplog.text


def test_how_far_a_night_looks_back_is_a_variable(
    outside: Outside, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_EXTEND_SOURCE", f"s3://{outside.bucket}/documents/")
    monkeypatch.setenv("AIRFLOW_VAR_EXTEND_LOOKBACK_DAYS", "0")
    put(outside, DAY, "own")
    put(outside, DAY - ONE_DAY, "before")
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "success"
    assert landed(outside) == {f"{DAY}/own"}
    monkeypatch.setenv("AIRFLOW_VAR_EXTEND_LOOKBACK_DAYS", "many")
    assert run_dag("extend_nightly", logical_date=NIGHT).state == "failed"
    assert times_paid(outside) == [1]


def plan_of_another_night(outside: Outside, tmp_path: Path, night: dt.datetime) -> Plan:
    """Plan what another night would, as a run that is at work at the same time."""
    values = {
        "source": day_folders(f"s3://{outside.bucket}/documents", night - ONE_DAY, 3),
        "workflow_id": "workflow_mixed",
        "workspace": f"file://{tmp_path / 'workspace'}",
    }
    return plan_of_another_run("extend_nightly", values)


def test_two_nights_at_work_at_the_same_time_leave_each_others_documents_alone(
    outside: Outside, run_dag: RunDag, tmp_path: Path
) -> None:
    put(outside, DAY, "own")
    put(outside, DAY - ONE_DAY, "of_both")
    put(outside, DAY + ONE_DAY, "of_the_next")
    plans: list[Plan] = []
    run = run_dag(
        "extend_nightly",
        logical_date=NIGHT,
        before={"submit": lambda: plans.append(plan_of_another_night(outside, tmp_path, NIGHT + ONE_DAY))},
    )
    assert run.state == "success"
    assert plans[0].theirs.total() == 2
    assert plans[0].to_send == 1
    assert times_paid(outside) == [1, 1]
    assert run_dag("extend_nightly", logical_date=NIGHT + ONE_DAY).state == "success"
    assert times_paid(outside) == [1] * 3
    assert len(landed(outside)) == 3


def printed_commands() -> list[str]:
    texts = [(ROOT / "docs" / "guide.md").read_text(), (ROOT / "dags" / "extend_nightly.py").read_text()]
    return [
        found
        for text in texts
        for found in re.findall(r"^ *(airflow backfill create .*)$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("printed", printed_commands())
def test_a_printed_backfill_reads_the_folders_of_its_first_and_last_day(printed: str) -> None:
    from airflow.cli.cli_parser import get_parser
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    words = shlex.split(printed, comments=True)
    options = get_parser().parse_args(words[1:])
    dag: Any = DagBag(str(ROOT / "dags")).dags[options.dag_id]
    runs: Any = DagSerialization.from_dict(DagSerialization.to_dict(dag)).iter_dagrun_infos_between(
        options.from_date, options.to_date
    )
    read = [day_folders("s3://inbox", run.data_interval.start) for run in runs]
    first, last = (words[words.index(option) + 1][:10] for option in ("--from-date", "--to-date"))
    days = (dt.date.fromisoformat(last) - dt.date.fromisoformat(first)).days + 1
    assert (read[0], read[-1]) == (f"s3://inbox/{first}/", f"s3://inbox/{last}/")
    assert len(read) == days


def test_backfills_are_printed_somewhere() -> None:
    assert len(printed_commands()) == 2


@pytest.mark.parametrize(("run_type", "folders"), [("backfill", 1), ("scheduled", 4), ("manual", 4)])
def test_a_backfill_reads_the_folder_of_its_own_day_alone(run_type: str, folders: int) -> None:
    import jinja2
    from airflow.dag_processing.dagbag import DagBag

    dag: Any = DagBag(str(ROOT / "dags")).dags["extend_nightly"]
    source = dag.get_task("documents_to_warehouse.discover").op_args[0]["source"]

    class Values:
        extend_source = "s3://inbox/"

        @staticmethod
        def get(name: str, default: int) -> int:
            return default

    known = {
        "var": {"value": Values},
        "data_interval_start": NIGHT - ONE_DAY,
        "dag_run": {"run_type": run_type, "run_after": NIGHT},
        "day_folders": dag.user_defined_macros["day_folders"],
    }
    rendered = jinja2.Template(source).render(known).splitlines()
    assert rendered[-1] == f"s3://inbox/{DAY}/"
    assert len(rendered) == folders
