"""What assumes one machine is refused where tasks run on several, unless the deployment says otherwise."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from airflow.executors.local_executor import LocalExecutor
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings.machines import Disk, remote_executors, unreachable
from extend_pipeline.settings.reachable import check_reachable

CELERY = "airflow.providers.celery.executors.celery_executor.CeleryExecutor"
EDGE = "airflow.providers.edge3.executors.EdgeExecutor"
ECS = "airflow.providers.amazon.aws.executors.ecs.AwsEcsExecutor"
VENDOR, VENDORS_LOCAL = "vendor.executors.CeleryExecutor", "vendor.executors.PatientLocalExecutor"

BOTH = ["CeleryExecutor", "KubernetesExecutor"]

ON_DISK = {"the workspace": "file:///data/extend"}
FILE = "/data/warehouse.duckdb"


class OwnLocalExecutor(LocalExecutor):
    """A company's own, which is local as the one it is made of."""


@pytest.mark.parametrize(
    ("configured", "asked_for", "remote"),
    [
        ("LocalExecutor", [None], []),
        ("CeleryExecutor", [None], ["CeleryExecutor"]),
        ("KubernetesExecutor", [None], ["KubernetesExecutor"]),
        *[(path, [None], [path]) for path in (CELERY, EDGE, ECS, VENDOR)],
        (VENDORS_LOCAL, [None], []),
        # Of several, a task has the first one, or the one that it asks for by name, class path or alias.
        ("LocalExecutor,CeleryExecutor", [None], []),
        ("LocalExecutor, CeleryExecutor", [None, "CeleryExecutor"], ["CeleryExecutor"]),
        (f"LocalExecutor,{CELERY}", [None, "CeleryExecutor"], [CELERY]),
        (f"LocalExecutor,{CELERY}", [CELERY], [CELERY]),
        ("CeleryExecutor,LocalExecutor", [None], ["CeleryExecutor"]),
        ("CeleryExecutor,LocalExecutor", ["LocalExecutor"], []),
        ("CeleryExecutor,KubernetesExecutor", [None, "KubernetesExecutor"], BOTH),
        (f"LocalExecutor,big:{VENDOR}", ["big"], ["big"]),
        (f"near:LocalExecutor,far:{EDGE}", ["near"], []),
        (f"near:LocalExecutor,far:{EDGE}", [None, "far", "far"], ["far"]),
        ("LocalExecutor", [VENDOR], [VENDOR]),
        # Without [core] multi_team, Airflow ignores what is said for teams.
        ("LocalExecutor;a=CeleryExecutor", [None], []),
        ("=CeleryExecutor;a=LocalExecutor", [None], ["CeleryExecutor"]),
    ],
)  # fmt: skip
def test_executor_of_each_task_decides(
    configured: str, asked_for: list[str | None], remote: list[str]
) -> None:
    is_local = {VENDORS_LOCAL}.__contains__
    assert remote_executors(configured, asked_for, multi_team=False, is_local=is_local) == remote


@pytest.mark.parametrize(
    ("configured", "asked_for", "remote"),
    [
        ("LocalExecutor;a=LocalExecutor", [None], []),
        # A task does not know its team.
        ("LocalExecutor;a=CeleryExecutor;b=KubernetesExecutor", [None], BOTH),
        ("LocalExecutor;a=LocalExecutor,CeleryExecutor", [None], []),
        (f"LocalExecutor,far:LocalExecutor;a=far:{EDGE}", ["far"], ["far"]),
    ],
)  # fmt: skip
def test_executor_of_any_team_may_be_meant(
    configured: str, asked_for: list[str | None], remote: list[str]
) -> None:
    assert remote_executors(configured, asked_for, multi_team=True, is_local=lambda _: False) == remote


@pytest.mark.parametrize("disk", get_args(Disk))
@pytest.mark.parametrize("executors", [[], ["CeleryExecutor"]], ids=["local", "celery"])
@pytest.mark.parametrize("folder", ["file:///data/extend", "s3://aws_default@bucket/extend", None])
@pytest.mark.parametrize("file", [FILE, None], ids=["duckdb", "postgres"])
def test_each_combination(disk: Disk, executors: list[str], folder: str | None, file: str | None) -> None:
    folders = {} if folder is None else {"the workspace": folder}
    reason = unreachable(executors, disk, folders=folders, duckdb_file=file) or ""
    several = bool(executors) and disk != "one_machine"
    lost_folder = several and disk == "by_executor" and folder == "file:///data/extend"
    lost_file = several and file is not None
    assert ("the workspace file:///data/extend" in reason) == ('disk="shared"' in reason) == lost_folder
    assert (f"the DuckDB file {FILE}" in reason) == ("docs/warehouses.md" in reason) == lost_file
    assert bool(reason) == ('disk="one_machine"' in reason) == (lost_folder or lost_file)


def test_refusal_names_all_that_is_wrong_and_what_became_of_the_documents() -> None:
    folders = {**ON_DISK, "the source": "file:///in/", "the inbox of webhooks": "s3://b/inbox"}
    reason = unreachable(["CeleryExecutor", "big"], "by_executor", folders=folders, duckdb_file=FILE) or ""
    assert reason.startswith("CeleryExecutor, big runs tasks on several machines")
    found = f"the workspace file:///data/extend or the source file:///in/ or the DuckDB file {FILE}"
    assert f"they would not find {found}. Nothing was sent to Extend." in reason


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set Airflow's executor, as its configuration does; none is asked for in a pod."""
    monkeypatch.delenv("AIRFLOW_IS_K8S_EXECUTOR_POD", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_FILE", json.dumps({"conn_type": "duckdb", "host": FILE}))
    monkeypatch.setenv("AIRFLOW_CONN_SERVER", json.dumps({"conn_type": "postgres", "host": "db"}))
    return lambda name: monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", name)


def task_of_a_group(**others: Any) -> Any:
    """Return a task of a group whose other task has options of its own, beside a task outside of it."""
    with DAG("d", schedule=None) as dag:
        EmptyOperator(task_id="outside", executor="CeleryExecutor")
        with TaskGroup("group"):
            EmptyOperator(task_id="plan")
            EmptyOperator(task_id="load", **others)
    return dag.get_task("group.plan")


def test_whole_group_is_looked_at_and_nothing_else(configure: Any) -> None:
    configure("LocalExecutor,CeleryExecutor")
    check_reachable(task_of_a_group(), "by_executor", folders=ON_DISK, warehouse_conn_id="file")
    with pytest.raises(PipelineInputError, match=r"^CeleryExecutor runs tasks on several machines"):
        check_reachable(task_of_a_group(executor="CeleryExecutor"), "by_executor", folders=ON_DISK)


def test_connection_says_whether_documents_land_in_a_file(configure: Any) -> None:
    configure("CeleryExecutor")
    task = task_of_a_group()
    check_reachable(task, "by_executor", folders={"the inbox": None}, warehouse_conn_id="server")
    with pytest.raises(PipelineInputError, match=f"the DuckDB file {FILE}"):
        check_reachable(task, "shared", folders=ON_DISK, warehouse_conn_id="file")
    check_reachable(task, "one_machine", folders=ON_DISK, warehouse_conn_id="file")


def test_class_of_an_executor_tells_whether_it_is_local(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "acme", SimpleNamespace(Own=OwnLocalExecutor))
    for local in ("acme.Own", "LocalExecutor", "airflow.executors.local_executor.LocalExecutor"):
        configure(local)
        check_reachable(None, "by_executor", folders=ON_DISK)
    for unknown in ("acme.Other", "no_such_module.Executor", "CeleryExecutor", CELERY):
        configure(unknown)
        with pytest.raises(PipelineInputError, match=unknown):
            check_reachable(None, "by_executor", folders=ON_DISK)


def test_pod_of_kubernetes_is_known_whatever_its_template_says(
    configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("LocalExecutor")
    monkeypatch.setenv("AIRFLOW_IS_K8S_EXECUTOR_POD", "True")
    with pytest.raises(PipelineInputError, match=r"^KubernetesExecutor"):
        check_reachable(task_of_a_group(), "by_executor", folders=ON_DISK)
