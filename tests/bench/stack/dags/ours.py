"""The pipeline as a user calls it: one call, one connection, its defaults."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Param

from extend_pipeline import Deployment, Execution, documents_to_warehouse

with DAG(
    "bench_ours",
    schedule=None,
    is_paused_upon_creation=False,
    default_args={"retries": 3, "retry_delay": dt.timedelta(minutes=1)},
    params={"source": Param(type="string"), "chunk_size": 1000},
):
    documents_to_warehouse(
        Deployment("{{ var.value.extend_workspace }}"),
        source="{{ params.source }}",
        workflow="{{ var.value.extend_workflow_id }}",
        execution=Execution(chunk_size="{{ params.chunk_size }}"),
    )
