"""A pipeline whose form asks what becomes of fields that the tables do not have yet."""

import datetime as dt

from airflow.sdk import DAG, Param

from extend_deployment import DEPLOYMENT
from extend_pipeline import Quality, documents_to_warehouse

with DAG(
    "under_contract",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    params={"schema_contract": Param(default="freeze", enum=["evolve", "freeze", "discard"])},
):
    documents_to_warehouse(
        DEPLOYMENT,
        source="{{ var.value.extend_source }}/",
        workflow="{{ var.value.extend_workflow_id }}",
        quality=Quality(schema_contract="{{ params.schema_contract }}"),
        reprocess="all",
    )
