"""A pipeline whose form asks what becomes of fields that the tables do not have yet."""

import datetime as dt

from airflow.sdk import DAG, Param

from extend_pipeline import documents_to_warehouse

with DAG(
    "under_contract",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    params={"schema_contract": Param(default="freeze", enum=["evolve", "freeze", "discard"])},
):
    documents_to_warehouse(
        source="{{ var.value.extend_source }}/",
        workflow_id="{{ var.value.extend_workflow_id }}",
        workspace="{{ var.value.extend_workspace }}",
        schema_contract="{{ params.schema_contract }}",
        reprocess="all",
    )
