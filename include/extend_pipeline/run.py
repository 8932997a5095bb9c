"""The run folder: settings and plan of one task group in one DAG run.

The settings are rendered once, by the first task, and read by all others from here: a Variable that somebody
edits half-way through cannot split a run in two.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from airflow.sdk import ObjectStoragePath, get_current_context

from extend_pipeline.plan import Plan
from extend_pipeline.reservations import Planner, airflow_id
from extend_pipeline.settings import Settings
from extend_pipeline.warehouse.records import Provenance
from extend_pipeline.workspace import read_json, write_json


def write_settings(folder: ObjectStoragePath, settings: Settings) -> None:
    """Keep the settings of a run."""
    write_json(folder / "settings.json", settings.model_dump(mode="json"))


def read_settings(folder: ObjectStoragePath) -> Settings:
    """Read the settings of a run."""
    return Settings.from_rendered(_required(folder / "settings.json"))


def keep_plan(folder: ObjectStoragePath, plan: Plan, unsent: Mapping[str, Any]) -> None:
    """Keep the plan of a run and what the landing of its unsent documents reported."""
    write_json(folder / "plan.json", {"plan": plan.to_json(), "unsent": dict(unsent)})


def read_plan(folder: ObjectStoragePath) -> tuple[Plan, dict[str, Any]] | None:
    """Read back what :func:`keep_plan` kept; None if the run never came to a plan."""
    kept = read_json(folder / "plan.json")
    return None if kept is None else (Plan.from_json(kept["plan"]), kept["unsent"])


def pipeline_of(ti: Any) -> str:
    """Return the name of the task group that a task stands in, the DAG's before it."""
    return f"{ti.dag_id}.{ti.task_id.rpartition('.')[0]}"


def planner_of(ti: Any) -> Planner:
    """Return whose plan it is that a task makes; each execution of the task makes another one."""
    group_id = ti.task_id.rpartition(".")[0]
    plan = uuid.uuid4().hex[:12]
    return Planner(plan=plan, airflow=airflow_id(), dag_id=ti.dag_id, run_id=ti.run_id, group_id=group_id)


def task_provenance(**origin: Any) -> Provenance:
    """Say of a part that the running task lands it; ``origin`` is what else there is to say."""
    ti = get_current_context()["ti"]
    return Provenance(
        **origin,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
    )


def _required(path: ObjectStoragePath) -> dict[str, Any]:
    value = read_json(path)
    if value is None:
        raise FileNotFoundError(
            f"{path} is gone from the workspace. Clear the whole task group: it is discovered and planned "
            "anew, and documents that were sent are not sent again."
        )
    return dict(value)
