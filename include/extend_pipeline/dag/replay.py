"""Replay as one call: a task group that lands what the raw zone has, without asking Extend."""

from __future__ import annotations

from typing import Any, Literal

from airflow.sdk import TaskGroup, task

from extend_pipeline import config
from extend_pipeline.config import Deployment, Templated, Warehouse, check_type
from extend_pipeline.dag.assets import landed_group, written_tables
from extend_pipeline.dag.conventions import open_group
from extend_pipeline.dag.replay_tasks import find_parts, replay_parts
from extend_pipeline.planning.replay import ReplaySettings
from extend_pipeline.settings import check_literals, check_shape


def replay_to_warehouse(
    deployment: Deployment,
    *,
    into: Warehouse | None = None,
    again: Templated[bool] = False,
    schema_contract: Templated[Literal["evolve", "freeze", "discard"]] | None = None,
    group_id: str = "replay_to_warehouse",
) -> TaskGroup:
    """Add the rebuilding of tables to the DAG that is being defined.

    It reads the raw zone and writes to the warehouse; Extend and the documents' source are not asked.

    :param deployment: the one that ``documents_to_warehouse`` uses: where the parts of the raw zone landed.
    :param into: where they are to land now, if not in the same warehouse.
    :param again: land all parts, not only those that the destination does not have; rows that are there are
        replaced by the same ones, so that a table that was dropped comes back, and a row that was changed.
    :param schema_contract: ``evolve``, ``freeze`` or ``discard``: what becomes of fields that the tables do
        not have; None: what it was when each part landed. A part that ``freeze`` refuses lands without its
        values, stops no other, and has a row in ``problems``.
    :return: the task group.
    :raises PipelineInputError: when the DAG file is parsed, if a value is wrong; it names object and field.
    """
    check_type("deployment", deployment, Deployment)
    check_type("into", into or deployment.warehouse, Warehouse)
    check_shape({"group_id": group_id})
    settings = {
        "workspace": deployment.workspace,
        "dataset": deployment.warehouse.dataset,
        "warehouse_conn_id": deployment.warehouse.conn_id,
        "into_dataset": into and into.dataset,
        "into_warehouse_conn_id": into and into.conn_id,
        "again": again,
        "schema_contract": schema_contract,
    }
    check_literals(settings, ReplaySettings, label=config.deployment_label)
    warehouse_pool = (into or deployment.warehouse).pool
    with open_group(group_id) as group:
        find: Any = task(task_id="find", pool=warehouse_pool)(find_parts)
        landed = landed_group(group.dag.dag_id, str(group.group_id))
        outlets = [landed, written_tables(landed)]
        land: Any = task(task_id="land", pool=warehouse_pool, outlets=outlets)(replay_parts)
        land(find(settings))
    return group
