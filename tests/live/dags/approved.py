"""A pipeline whose documents of low confidence somebody has to approve."""

import datetime as dt

from airflow.sdk import DAG, Param

from extend_pipeline import Deployment, Execution, Quality, documents_to_warehouse

with DAG(
    "approved",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    is_paused_upon_creation=False,
    params={"source": Param(type="string")},
):
    documents_to_warehouse(
        Deployment("{{ var.value.extend_workspace }}"),
        source="{{ params.source }}",
        workflow="workflow_receipts",
        quality=Quality(hold_below=0.8),
        execution=Execution(chunk_size=2, poke_interval=dt.timedelta(seconds=1)),
    )
