"""A pipeline among others: behind skips, under their defaults, twice in a DAG, with any XCom backend."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.configuration import conf

from extend_pipeline import Deployment, Quality, documents_to_warehouse
from extend_pipeline.settings import RESERVED_METADATA
from fixtures.airflow.dag_runs import Outside

RunDag = Callable[..., Any]

GIVEN: dict[str, Any] = {
    "deployment": Deployment("file:///data/extend"),
    "source": "s3://inbox/p/",
    "workflow": "w",
}


def states(run: Any) -> dict[str, str]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        of_run = (TaskInstance.run_id == run.run_id, TaskInstance.dag_id == run.dag_id)
        return {ti.task_id: str(ti.state) for ti in session.scalars(select(TaskInstance).where(*of_run))}


def test_behind_a_skipped_task_everything_is_skipped_and_nothing_planned(
    outside: Outside, run_dag: RunDag, tmp_path: Path
) -> None:
    outside.put("documents/a.txt", b"Receipt\nTotal: 3.00 EUR\n")
    run = run_dag("behind_a_skip", logical_date=None)
    ended = states(run)
    others = {task for task, state in ended.items() if state != "skipped"}
    assert others == {"circuit.circuit", "branch.branch"}
    assert len(ended) > 3 * 12
    assert outside.extend.stats()["runs"] == {}
    assert not (tmp_path / "workspace").exists()
    assert not outside.warehouse.exists()


def fill(outside: Outside) -> None:
    for name in ("2026-11-18/a.txt", "2026-11-18/deep/b.txt", "2026-11-19/c.txt", "2026-11-20/d.txt"):
        outside.put(f"documents/{name}", f"Receipt {name}\nTotal: 3.00 EUR\n".encode())


def test_two_of_them_under_defaults_made_for_others_do_not_meet(outside: Outside, run_dag: RunDag) -> None:
    fill(outside)
    run = run_dag("two_of_them", logical_date=None)
    assert run.state == "success", states(run)
    assert set(outside.statuses()) == {
        *("documents/2026-11-18/a.txt", "documents/2026-11-18/deep/b.txt", "documents/2026-11-19/c.txt")
    }
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
    found = outside.extend.call("GET", "/workflow_runs").json()["data"]
    for each in found:
        metadata = outside.extend.call("GET", f"/workflow_runs/{each['id']}").json()["metadata"]
        own = {name: metadata.pop(name) for name in RESERVED_METADATA & metadata.keys()}
        assert metadata == {"group": "first", "limit": 25, "extend:usage_tags": ["night"]}
        assert own.keys() == RESERVED_METADATA - {"airflow_submission"}
    assert len(found) == 3


def test_a_task_pushes_what_it_returns_once(outside: Outside, run_dag: RunDag) -> None:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    fill(outside)
    run = run_dag(
        "extend_on_demand", logical_date=None, run_conf={"source": f"s3://{outside.bucket}/documents/"}
    )
    with create_session() as session:
        of_run = (XComModel.run_id == run.run_id, XComModel.dag_id == run.dag_id)
        keys: dict[str, set[str]] = {}
        for pushed in session.scalars(select(XComModel).where(*of_run)):
            keys.setdefault(pushed.task_id.rpartition(".")[2], set()).add(pushed.key)
    assert keys.pop("wait") >= {"return_value", "progress"}
    assert keys == {
        "discover": {"return_value"},
        "plan": {"return_value", "plan", "pipeline"},
        "submit": {"return_value", "extend_owner"},
        "collect": {"return_value"},
        "load": {"return_value"},
        "finish": {"return_value", "landed"},
    }


#: Runs a DAG in a process that has been told of another XCom backend from the start.
RUN = """
import sys
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.execution_time.xcom import XCom
import extend_provider.triggers.base as base

assert XCom.__name__ == "XComObjectStorageBackend", XCom
base.EARLIEST_REPORT_SECONDS = 0.0
run = DagBag(sys.argv[1]).dags["persistent"].test()
print("ENDED", run.state)
"""


@pytest.mark.full
def test_an_object_storage_for_xcoms_changes_nothing(outside: Outside, tmp_path: Path) -> None:
    fill(outside)
    place = tmp_path / "xcoms"
    place.mkdir()
    environment = {
        "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{place}",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(Path(__file__).parent / "examples" / "persistent.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "ENDED success" in done.stdout, done.stdout[-3000:] + done.stderr[-3000:]
    assert [path for path in place.rglob("*") if path.is_file()]
    assert len(outside.statuses()) == 4


@pytest.mark.parametrize(
    ("of_dag", "of_group", "expected"),
    [
        ({}, {}, 3),
        ({"retries": 0}, {}, 0),
        ({"retries": 5}, {}, 5),
        ({}, {"retries": 1}, 1),
        ({"retries": 5}, {"retries": 0}, 0),
    ],
)
def test_retries_are_three_unless_the_author_says_otherwise(
    of_dag: dict[str, Any], of_group: dict[str, Any], expected: int
) -> None:
    outer: Any = TaskGroup
    with DAG("d", schedule=None, default_args=of_dag) as dag, outer("outer", default_args=of_group):
        documents_to_warehouse(**GIVEN, quality=Quality(hold_below=0.5))
    assert {task.retries for task in dag.tasks} == {expected}
    assert all(task.has_retry_policy for task in dag.tasks)


def test_retries_of_the_installation_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    getint = conf.getint
    asked = {("core", "default_task_retries"): 2}
    monkeypatch.setattr(conf, "getint", lambda *key, **options: asked.get(key) or getint(*key, **options))
    with DAG("d", schedule=None) as dag:
        group = documents_to_warehouse(**GIVEN)
    assert "retries" not in group.default_args
    assert dag.task_dict


def test_each_of_two_groups_has_an_asset_of_its_own() -> None:
    with DAG("d", schedule=None) as dag:
        documents_to_warehouse(**GIVEN, group_id="alone")
        for name in ("first", "second"):
            with TaskGroup(name):
                documents_to_warehouse(**GIVEN)
    names = {outlet.name for task in dag.tasks for outlet in task.outlets}
    groups = ("d.alone", "d.first.documents_to_warehouse", "d.second.documents_to_warehouse")
    assert names == {each for group in groups for each in (group, f"{group}.tables")}
