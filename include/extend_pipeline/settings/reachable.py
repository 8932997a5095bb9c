"""Refuses a folder or a file that tasks on other machines cannot reach, before anything is sent."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from airflow.sdk.configuration import conf

from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings.machines import Disk, remote_executors, unreachable

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.mappedoperator import MappedOperator

#: Set by the KubernetesExecutor in each of its pods, where ``[core] executor`` may be another one: pod
#: templates have long set LocalExecutor there.
_IN_POD: Final = "AIRFLOW_IS_K8S_EXECUTOR_POD"


def check_reachable(
    task: BaseOperator | MappedOperator | None,
    disk: Disk,
    *,
    folders: Mapping[str, str | None],
    warehouse_conn_id: str | None = None,
) -> None:
    """Check that all tasks of a task's group reach what they share.

    :param task: one of the group; None where there is none at hand: then tasks have the default executor.
    :param folders: addresses by what they are; None where there is none.
    :param warehouse_conn_id: the connection that documents land through; it is read, in the place of a task.
    :raises PipelineInputError: they do not; it says what to change.
    """
    executors = _remote([None] if task is None else _asked_for(task))
    if disk == "one_machine" or not executors:
        return
    given = {what: place for what, place in folders.items() if place}
    file = None if warehouse_conn_id is None else _duckdb_file(warehouse_conn_id)
    if reason := unreachable(executors, disk, folders=given, duckdb_file=file):
        raise PipelineInputError(reason)


def _asked_for(task: BaseOperator | MappedOperator) -> list[str | None]:
    """Return the executor of each task of a task's group."""
    group, dot, _ = task.task_id.rpartition(".")
    tasks = [] if task.dag is None else task.dag.tasks
    return [each.executor for each in tasks if each.task_id.startswith(group + dot)]


def _remote(asked_for: list[str | None]) -> list[str]:
    if os.environ.get(_IN_POD):
        return ["KubernetesExecutor"]
    return remote_executors(
        conf.get("core", "executor"),
        asked_for,
        multi_team=conf.getboolean("core", "multi_team", fallback=False),
        is_local=_is_local,
    )


def _is_local(path: str) -> bool:
    """Return what an executor's class says of itself; False for what cannot be imported here."""
    module, _, name = path.rpartition(".")
    try:
        return bool(getattr(importlib.import_module(module), name).is_local)
    except Exception:  # noqa: BLE001  # whatever a vendor's module needs and a worker does not have
        return False


def _duckdb_file(conn_id: str) -> str | None:
    from airflow.sdk import BaseHook

    connection = BaseHook.get_connection(conn_id)
    return str(connection.host) if connection.conn_type == "duckdb" else None
