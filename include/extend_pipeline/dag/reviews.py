"""Reviews as one call: a task group that lands what reviewers at Extend have decided since."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from airflow.sdk import TaskGroup, task

from extend_pipeline.dag.assets import landed_group, written_tables
from extend_pipeline.dag.conventions import open_group
from extend_pipeline.dag.outages import AskingOperator
from extend_pipeline.dag.reviews_tasks import ask_for_reviews, find_reviews, land_reviews
from extend_pipeline.reviews.decisions import ReviewSettings
from extend_pipeline.settings import check_literals, check_shape

#: How long a look waits out an outage of Extend; the next one would ask for the same runs.
ASK_TIMEOUT: Final = dt.timedelta(hours=6)


def reviews_to_warehouse(
    *,
    workspace: str,
    group_id: str = "reviews_to_warehouse",
    include_deleted: bool | str = False,
    extend_conn_id: str = "extend_default",
    warehouse_conn_id: str = "warehouse_default",
    dataset: str = "extend",
    warehouse_pool: str = "extend_warehouse",
) -> TaskGroup:
    """Add the landing of reviews to the DAG that is being defined.

    It looks at rows with status ``NEEDS_REVIEW`` alone and asks Extend for just those runs, one request each;
    without such rows it asks nothing.

    :param workspace: the one that ``documents_to_warehouse`` uses; reviewed answers go to its raw zone.
    :param include_deleted: ask also for runs that Extend has said to be deleted.
    :param extend_conn_id: connection of type ``extend``; runs submitted through others are left to them.
    :param warehouse_conn_id: connection of the warehouse.
    :param dataset: the schema that holds the tables.
    :param warehouse_pool: Airflow pool of one slot, because a DuckDB file has one writer.
    :return: the task group; what comes after it is skipped when there is no news.
    :raises PipelineInputError: when the DAG file is parsed, if a literal setting is wrong.
    """
    check_shape({"group_id": group_id, "warehouse_pool": warehouse_pool})
    settings = {
        "workspace": workspace,
        "include_deleted": include_deleted,
        "extend_conn_id": extend_conn_id,
        "warehouse_conn_id": warehouse_conn_id,
        "dataset": dataset,
    }
    check_literals(settings, ReviewSettings)
    with open_group(group_id) as group:
        landed = landed_group(group.dag.dag_id, str(group.group_id))
        outlets = [landed, written_tables(landed)]
        find: Any = task.short_circuit(task_id="find", pool=warehouse_pool)(find_reviews)
        ask = AskingOperator(
            task_id="ask",
            function=ask_for_reviews,
            arguments=[find(settings)],
            timeout=ASK_TIMEOUT,
            short_circuit=True,
        )
        land: Any = task(task_id="land", pool=warehouse_pool, outlets=outlets)(land_reviews)
        land(ask.output)
    return group
