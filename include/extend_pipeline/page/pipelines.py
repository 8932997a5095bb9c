"""Which pipelines there are, and what their last runs have left in Airflow's database."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, Final, TypeVar

from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import func, select

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.planning.record import LANDED_KEY, PIPELINE_KEY, LandedRecord, PipelineRecord
from extend_pipeline.storage.formats import Stored, from_plain

#: How many runs of a pipeline are shown.
_LAST_RUNS: Final = 10
T = TypeVar("T", bound=Stored)


@dataclasses.dataclass(frozen=True)
class KnownPipeline:
    """A pipeline by the newest run that has planned."""

    dag_id: str
    group_id: str
    run_id: str
    record: PipelineRecord


@dataclasses.dataclass(frozen=True)
class PastRun:
    """A run of a pipeline that has finished, however it ended."""

    run_id: str
    planned_at: str | None
    landed: LandedRecord


def known_pipelines(dag_ids: Collection[str] | None = None) -> list[KnownPipeline]:
    """Return the pipelines, by DAG and task group.

    :param dag_ids: only of these DAGs.
    """
    newest = select(func.max(XComModel.dag_run_id), XComModel.task_id).where(XComModel.key == PIPELINE_KEY)
    if dag_ids is not None:
        newest = newest.where(XComModel.dag_id.in_(dag_ids))
    newest_of_each = newest.group_by(XComModel.dag_id, XComModel.task_id).subquery()
    wanted = select(XComModel.dag_id, XComModel.task_id, XComModel.run_id, XComModel.value).join(
        newest_of_each,
        (XComModel.dag_run_id == newest_of_each.c[0]) & (XComModel.task_id == newest_of_each.c[1]),
    )
    with create_session() as session:
        rows = session.execute(wanted.where(XComModel.key == PIPELINE_KEY)).all()
    found = [
        KnownPipeline(dag_id, task_id.rpartition(".")[0], run_id, record)
        for dag_id, task_id, run_id, value in rows
        if (record := _read(PipelineRecord, value)) is not None
    ]
    return sorted(found, key=lambda each: (each.dag_id, each.group_id))


def past_runs(pipeline: KnownPipeline) -> list[PastRun]:
    """Return the last runs of a pipeline that have finished, the newest first."""
    tasks = {f"{pipeline.group_id}.{name}".lstrip("."): key for name, key in _TASKS.items()}
    wanted = (
        select(XComModel.run_id, XComModel.key, XComModel.value)
        .where(
            XComModel.dag_id == pipeline.dag_id,
            XComModel.task_id.in_(tasks),
            XComModel.key.in_(_TASKS.values()),
        )
        .order_by(XComModel.dag_run_id.desc())
        .limit(2 * _LAST_RUNS)
    )
    by_run: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        for run_id, key, value in session.execute(wanted):
            by_run.setdefault(run_id, {})[key] = value
    runs = []
    for run_id, left in by_run.items():
        landed = _read(LandedRecord, left.get(LANDED_KEY))
        planned = _read(PipelineRecord, left.get(PIPELINE_KEY))
        if landed is not None:
            runs.append(PastRun(run_id, planned.planned_at if planned else None, landed))
    return runs[:_LAST_RUNS]


_TASKS: Final = {"plan": PIPELINE_KEY, "finish": LANDED_KEY}


def _read(kind: type[T], value: Any) -> T | None:
    """Return a record; None if a newer release or a backend for XComs has written something else."""
    try:
        return from_plain(kind, value, "XCom") if value is not None else None
    except PipelineInputError:
        return None
