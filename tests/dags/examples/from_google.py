"""Documents from a bucket that a connection of its own opens."""

import datetime as dt

from airflow.sdk import DAG

from extend_pipeline import documents_to_warehouse

with DAG("from_google", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    documents_to_warehouse(
        source="gs://acme-inbox/in/",
        source_conn_id="inbox",
        workflow_id="{{ var.value.extend_workflow_id }}",
        workspace="{{ var.value.extend_workspace }}",
    )
