"""A pipeline that waits for reviewers, and looks often."""

import datetime as dt

from airflow.sdk import DAG

from extend_deployment import DEPLOYMENT
from extend_pipeline import Execution, Quality, documents_to_warehouse

with DAG("reviews_waited_for", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    documents_to_warehouse(
        DEPLOYMENT,
        source="{{ var.value.extend_source }}/",
        workflow="{{ var.value.extend_workflow_id }}",
        quality=Quality(on_needs_review="wait"),
        execution=Execution(poke_interval=dt.timedelta(seconds=1)),
    )
