"""Reviews as one call: a task group that lands what reviewers at Extend have decided since."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from airflow.sdk import TaskGroup, task

from extend_pipeline import config
from extend_pipeline.config import Deployment, Templated, check_type
from extend_pipeline.dag.assets import landed_group, written_tables
from extend_pipeline.dag.conventions import open_group
from extend_pipeline.dag.outages import AskingOperator
from extend_pipeline.dag.reviews_tasks import ask_for_reviews, find_reviews, land_reviews
from extend_pipeline.reviews.decisions import ReviewSettings
from extend_pipeline.settings import check_literals, check_shape

#: How long a look waits out an outage of Extend; the next one would ask for the same runs.
ASK_TIMEOUT: Final = dt.timedelta(hours=6)


def reviews_to_warehouse(
    deployment: Deployment,
    *,
    include_deleted: Templated[bool] = False,
    group_id: str = "reviews_to_warehouse",
) -> TaskGroup:
    """Add the landing of reviews to the DAG that is being defined.

    It looks at rows with status ``NEEDS_REVIEW`` alone and asks Extend for just those runs, one request each;
    without such rows it asks nothing.

    :param deployment: the one that ``documents_to_warehouse`` uses; reviewed answers go to its raw zone, and
        runs submitted through another connection are left to that one.
    :param include_deleted: ask also for runs that Extend has said to be deleted.
    :return: the task group; what comes after it is skipped when there is no news.
    :raises PipelineInputError: when the DAG file is parsed, if a value is wrong; it names object and field.
    """
    check_type("deployment", deployment, Deployment)
    check_shape({"group_id": group_id})
    settings = {**deployment.to_settings(), "include_deleted": include_deleted}
    check_literals(settings, ReviewSettings, label=config.deployment_label)
    warehouse_pool = deployment.warehouse.pool
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
