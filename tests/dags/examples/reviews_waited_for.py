"""A pipeline that waits for reviewers, and looks often."""

import datetime as dt

from airflow.sdk import DAG

from extend_pipeline import documents_to_warehouse

with DAG("reviews_waited_for", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):
    documents_to_warehouse(
        source="{{ var.value.extend_source }}/",
        workflow_id="{{ var.value.extend_workflow_id }}",
        workspace="{{ var.value.extend_workspace }}",
        on_needs_review="wait",
        poke_interval=dt.timedelta(seconds=1),
    )
