"""A pipeline whose presigned URLs live for five seconds, and whose chunks are small."""

import datetime as dt

from airflow.sdk import DAG

from extend_pipeline import documents_to_warehouse

with DAG("hasty", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    documents_to_warehouse(
        source="{{ var.value.extend_source }}/",
        workflow_id="{{ var.value.extend_workflow_id }}",
        workspace="{{ var.value.extend_workspace }}",
        chunk_size=5,
        expires_in=5,
        max_failed=0,
    )
