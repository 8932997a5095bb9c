"""A pipeline whose presigned URLs live for five seconds, and whose chunks are small."""

import datetime as dt

from airflow.sdk import DAG

from extend_deployment import DEPLOYMENT
from extend_pipeline import Execution, Quality, documents_to_warehouse

with DAG("hasty", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    documents_to_warehouse(
        DEPLOYMENT,
        source="{{ var.value.extend_source }}/",
        workflow="{{ var.value.extend_workflow_id }}",
        quality=Quality(max_failed=0),
        execution=Execution(chunk_size=5, expires_in=5),
    )
