"""Documents from a bucket that a connection of its own opens."""

import datetime as dt

from airflow.sdk import DAG

from extend_deployment import DEPLOYMENT
from extend_pipeline import GCS, documents_to_warehouse

with DAG("from_google", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    documents_to_warehouse(
        DEPLOYMENT,
        source=GCS("gs://acme-inbox/in/", conn_id="inbox"),
        workflow="{{ var.value.extend_workflow_id }}",
    )
