"""What the tasks of a group have in common in Airflow, whatever the defaults of its DAG are."""

from __future__ import annotations

import uuid
from typing import Any, Final

from airflow.sdk import TaskGroup, TriggerRule
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from extend_pipeline.batches.reservations import Planner, airflow_id
from extend_pipeline.dag.retry_policy import PIPELINE_RETRY_POLICY

#: For authors who set none: a worker that dies, or a warehouse that is away, is not the end of a night.
RETRIES: Final = 3


def open_group(group_id: str) -> TaskGroup:
    """Return a new task group of the DAG, or group, that is being defined; use it as a context manager.

    Its tasks pass references by XCom and are skipped behind skipped ones, whatever the DAG's ``default_args``
    say; ``retries`` are the author's, where there are any.
    """
    group = TaskGroup(group_id)
    given = {**(group.dag.default_args or {}), **group.default_args}
    # Later tasks come first, so that a chunk that has begun is finished before the next one begins.
    own: dict[str, Any] = {"retry_policy": PIPELINE_RETRY_POLICY, "weight_rule": "upstream"}
    own |= {"do_xcom_push": True, "trigger_rule": TriggerRule.ALL_SUCCESS}
    if "retries" not in given and not conf.getint("core", "default_task_retries", fallback=0):
        own["retries"] = RETRIES
    group.default_args |= own
    return group


def pipeline_of(ti: Any) -> str:
    """Return the name of the task group that a task stands in, after that of its DAG."""
    return f"{ti.dag_id}.{ti.task_id.rpartition('.')[0]}"


def planner_of(ti: Any) -> Planner:
    """Return who makes the plan of a task; each execution of the task is another planner."""
    group_id = ti.task_id.rpartition(".")[0]
    plan = uuid.uuid4().hex[:12]
    return Planner(plan=plan, airflow=airflow_id(), dag_id=ti.dag_id, run_id=ti.run_id, group_id=group_id)


def skip_behind(ti: Any, name: str) -> None:
    """Skip the running task if another one of its group was skipped.

    It is for tasks that run whatever became of those before them.

    :param ti: of the running task.
    :param name: the other task's name in the group.
    :raises AirflowSkipException: if it was.
    """
    task_id = f"{ti.task_id.rpartition('.')[0]}.{name}"
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])
    if "skipped" in (states.get(ti.run_id) or {}).values():
        raise AirflowSkipException(f"{task_id} was skipped: nothing was planned, nothing sent.")
