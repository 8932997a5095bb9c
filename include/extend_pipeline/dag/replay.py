"""Replay as one call: a task group that lands what the raw zone has, without asking Extend."""

from __future__ import annotations

from typing import Any

from airflow.sdk import TaskGroup, task

from extend_pipeline.dag.assets import landed_group, written_tables
from extend_pipeline.dag.conventions import open_group
from extend_pipeline.dag.replay_tasks import find_parts, replay_parts
from extend_pipeline.planning.replay import ReplaySettings
from extend_pipeline.settings import check_literals, check_shape


def replay_to_warehouse(
    *,
    workspace: str,
    group_id: str = "replay_to_warehouse",
    dataset: str = "extend",
    warehouse_conn_id: str = "warehouse_default",
    into_dataset: str | None = None,
    into_warehouse_conn_id: str | None = None,
    again: bool | str = False,
    schema_contract: str | None = None,
    warehouse_pool: str = "extend_warehouse",
) -> TaskGroup:
    """Add the rebuilding of tables to the DAG that is being defined.

    It reads the raw zone and writes to the warehouse; Extend and the documents' source are not asked.

    :param workspace: the one that ``documents_to_warehouse`` uses.
    :param dataset: the dataset that the parts of the raw zone landed in.
    :param warehouse_conn_id: the connection that they landed through.
    :param into_dataset: where they are to land now, if not in the same dataset.
    :param into_warehouse_conn_id: the same of the connection.
    :param again: land all parts, not only those that the destination does not have; rows that are there are
        replaced by the same ones, so that a table that was dropped comes back, and a row that was changed.
    :param schema_contract: ``evolve``, ``freeze`` or ``discard``: what becomes of fields that the tables do
        not have; None: what it was when each part landed. A part that ``freeze`` refuses lands without its
        values, stops no other, and has a row in ``problems``.
    :param warehouse_pool: Airflow pool of one slot, because a DuckDB file has one writer.
    :return: the task group.
    :raises PipelineInputError: when the DAG file is parsed, if a literal setting is wrong.
    """
    check_shape({"group_id": group_id, "warehouse_pool": warehouse_pool})
    settings = {
        "workspace": workspace,
        "dataset": dataset,
        "warehouse_conn_id": warehouse_conn_id,
        "into_dataset": into_dataset,
        "into_warehouse_conn_id": into_warehouse_conn_id,
        "again": again,
        "schema_contract": schema_contract,
    }
    check_literals(settings, ReplaySettings)
    with open_group(group_id) as group:
        find: Any = task(task_id="find", pool=warehouse_pool)(find_parts)
        landed = landed_group(group.dag.dag_id, str(group.group_id))
        outlets = [landed, written_tables(landed)]
        land: Any = task(task_id="land", pool=warehouse_pool, outlets=outlets)(replay_parts)
        land(find(settings))
    return group
