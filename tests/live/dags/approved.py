"""A pipeline whose documents of low confidence somebody has to approve."""

import datetime as dt

from airflow.sdk import DAG, Param

from extend_pipeline import documents_to_warehouse

with DAG(
    "approved",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    is_paused_upon_creation=False,
    params={"source": Param(type="string")},
):
    documents_to_warehouse(
        source="{{ params.source }}",
        workflow_id="workflow_receipts",
        workspace="{{ var.value.extend_workspace }}",
        chunk_size=2,
        min_confidence=0.8,
        on_low_confidence="hold",
        poke_interval=dt.timedelta(seconds=1),
    )
