"""A pipeline that looks often and soon takes runs that are not listed for gone."""

import datetime as dt

from airflow.sdk import DAG, Param

from extend_pipeline import documents_to_warehouse

with DAG(
    "persistent",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    params={"max_failed": Param(default=None, type=["null", "integer"]), "max_attempts": 3},
):
    documents_to_warehouse(
        source="{{ var.value.extend_source }}/",
        workflow_id="{{ var.value.extend_workflow_id }}",
        workspace="{{ var.value.extend_workspace }}",
        max_attempts="{{ params.max_attempts }}",
        max_failed="{{ params.max_failed }}",
        missing_after=dt.timedelta(seconds=3),
        poke_interval=dt.timedelta(seconds=1),
    )
