"""A pipeline that lets documents of low confidence into the typed tables only when somebody approves them."""

import datetime as dt

from airflow.sdk import DAG

from extend_deployment import DEPLOYMENT
from extend_pipeline import Execution, Quality, documents_to_warehouse

with DAG("confident", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    documents_to_warehouse(
        DEPLOYMENT,
        source="{{ var.value.extend_source }}/",
        workflow="workflow_receipts",
        quality=Quality(hold_below=0.8),
        execution=Execution(chunk_size=2, poke_interval=dt.timedelta(seconds=1)),
    )
