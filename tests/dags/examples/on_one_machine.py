"""A deployment that says which disk its tasks see, whatever the executor."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from extend_pipeline import Deployment, documents_to_warehouse

with DAG(
    "on_one_machine",
    schedule=None,
    params={"source": Param(type="string"), "disk": Param("by_executor")},
):
    documents_to_warehouse(
        Deployment("{{ var.value.extend_workspace }}", disk="{{ params.disk }}"),
        source="{{ params.source }}",
        workflow="{{ var.value.extend_workflow_id }}",
    )
