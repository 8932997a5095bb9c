"""A pipeline that lets documents of low confidence into the typed tables only when somebody approves them."""

import datetime as dt

from airflow.sdk import DAG

from extend_pipeline import documents_to_warehouse

with DAG("confident", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    documents_to_warehouse(
        source="{{ var.value.extend_source }}/",
        workflow_id="workflow_receipts",
        workspace="{{ var.value.extend_workspace }}",
        chunk_size=2,
        min_confidence=0.8,
        on_low_confidence="hold",
        poke_interval=dt.timedelta(seconds=1),
    )
