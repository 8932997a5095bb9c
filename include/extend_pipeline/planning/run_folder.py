"""The run folder: settings and plan of one task group in one DAG run.

The settings are rendered once, by the first task, and read by all others from here: a Variable that somebody
edits half-way through cannot split a run in two.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from airflow.sdk import ObjectStoragePath, get_current_context

from extend_pipeline.batches.reservations import Planner, airflow_id
from extend_pipeline.planning.plan import Plan
from extend_pipeline.settings import Settings
from extend_pipeline.storage.formats import opened, sealed
from extend_pipeline.storage.workspace import read_json, write_json
from extend_pipeline.warehouse.records import Provenance

#: The format of a run's plan, see stored.py.
_PLAN: Final = 1


def write_settings(folder: ObjectStoragePath, settings: Settings) -> None:
    """Keep the settings of a run."""
    write_json(folder / "settings.json", settings.to_stored())


def read_settings(folder: ObjectStoragePath) -> Settings:
    """Read the settings of a run."""
    path = folder / "settings.json"
    return Settings.from_stored(_required(path), str(path))


def keep_plan(folder: ObjectStoragePath, plan: Plan, unsent: Mapping[str, Any]) -> None:
    """Keep the plan of a run and what the landing of its unsent documents reported."""
    kept = {"plan": plan.to_json(), "unsent": dict(unsent)}
    write_json(folder / "plan.json", sealed(kept, version=_PLAN))


def read_plan(folder: ObjectStoragePath) -> tuple[Plan, dict[str, Any]] | None:
    """Read back what :func:`keep_plan` kept, in this release or another one; None if there is no plan."""
    path = folder / "plan.json"
    plain = read_json(path)
    if plain is None:
        return None
    kept, _ = opened(plain, str(path), newest=_PLAN)
    chunks = kept["plan"].pop("chunks", [])  # another release may refer to a chunk by other words
    plan = msgspec.convert(kept["plan"], Plan, dec_hook=lambda kind, counts: Counter(counts))
    plan.chunks = chunks
    return plan, kept["unsent"]


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
