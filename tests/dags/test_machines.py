"""An executor with workers elsewhere: what needs one machine is refused before anything is sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend_pipeline.arrivals.watch import Watch
from extend_pipeline.exceptions import PipelineInputError
from fixtures.airflow.dag_runs import Outside

DOCUMENT = b"Receipt 1\nTotal: 3.00 EUR\n"


@pytest.fixture
def celery(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> str:
    """Configure an executor with workers elsewhere; return the address of a workspace that fits it."""
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    return f"s3://aws_default@{outside.s3.bucket('work')}/extend"


@pytest.mark.parametrize(
    ("lost", "dag_id", "task"),
    [
        ("the source file", "extend_on_demand", "discover"),
        ("the inbox of webhooks file", "extend_on_demand", "plan"),
        ("the DuckDB file", "extend_on_demand", "plan"),
        ("the DuckDB file", "extend_reviews", "find"),
        ("the workspace file", "extend_reviews", "find"),
        ("the DuckDB file", "extend_replay", "find"),
        ("the workspace file", "extend_replay", "find"),
    ],
)
def test_run_is_refused_before_anything_is_sent(
    outside: Outside,
    run_dag: Callable[..., Any],
    celery: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    lost: str,
    dag_id: str,
    task: str,
) -> None:
    source = outside.put("documents/2026-11-19/1.txt", DOCUMENT).rpartition("/")[0] + "/"
    if "source" in lost:
        (tmp_path / "in").mkdir()
        source = f"file://{tmp_path}/in/"
    if "workspace" not in lost:
        monkeypatch.setenv("AIRFLOW_VAR_EXTEND_WORKSPACE", celery)
    if "inbox" in lost:
        connection = json.loads(outside.extend.connection_json())
        extra = {"webhook_inbox": f"file://{tmp_path}/inbox", "webhook_secrets": "wss_secret"}
        connection["extra"] = {**(connection.get("extra") or {}), **extra}
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", json.dumps(connection))
    conf = {"source": source} if dag_id == "extend_on_demand" else {}
    run = run_dag(dag_id, logical_date=None, run_conf=conf)
    states = {ti.task_id.rpartition(".")[2]: ti.state for ti in run.get_task_instances()}
    assert (run.state, states[task]) == ("failed", "failed")
    said = capfd.readouterr().err
    assert f"{task} has failed: PipelineInputError" in said
    assert lost in said
    assert outside.extend.stats()["runs_created"] == {}
    assert not outside.warehouse.exists()


def test_remedy_that_the_refusal_names_is_one(
    outside: Outside, run_dag: Callable[..., Any], celery: str, capfd: pytest.CaptureFixture[str]
) -> None:
    source = outside.put("documents/2026-11-19/1.txt", DOCUMENT).rpartition("/")[0] + "/"

    def states(disk: str) -> dict[str, str | None]:
        run = run_dag("on_one_machine", logical_date=None, run_conf={"source": source, "disk": disk})
        return {ti.task_id.rpartition(".")[2]: ti.state for ti in run.get_task_instances()}

    assert states("by_executor")["discover"] == "failed"
    said = capfd.readouterr().err
    assert "the workspace file" in said
    assert 'Deployment(disk="shared")' in said
    after = states("shared")
    assert (after["discover"], after["plan"]) == ("success", "failed")
    assert 'Deployment(disk="one_machine")' in capfd.readouterr().err
    assert outside.extend.stats()["runs_created"] == {}
    assert set(states("one_machine").values()) == {"success"}
    assert outside.rows("SELECT status FROM extend.documents") == [("PROCESSED",)]


def test_nothing_is_received_for_a_workspace_that_tasks_cannot_reach(celery: str) -> None:
    values = {"arrivals": "a", "queue": "http://127.0.0.1:9/inbox", "workspace": "file:///data/extend"}
    with pytest.raises(PipelineInputError, match="the workspace file:///data/extend"):
        Watch(values, logging.getLogger()).step()
