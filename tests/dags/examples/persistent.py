"""A pipeline that looks often and soon takes runs that are not listed for gone."""

import datetime as dt

from airflow.sdk import DAG, Param

from extend_deployment import DEPLOYMENT
from extend_pipeline import Execution, Quality, documents_to_warehouse

with DAG(
    "persistent",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    params={"max_failed": Param(default=None, type=["null", "integer"]), "max_attempts": 3},
):
    documents_to_warehouse(
        DEPLOYMENT,
        source="{{ var.value.extend_source }}/",
        workflow="{{ var.value.extend_workflow_id }}",
        quality=Quality(max_failed="{{ params.max_failed }}"),
        execution=Execution(
            max_attempts="{{ params.max_attempts }}",
            missing_after=dt.timedelta(seconds=3),
            poke_interval=dt.timedelta(seconds=1),
        ),
    )
