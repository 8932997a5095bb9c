"""The deployment that the DAGs beside this file share: where they work, and through which connections."""

from __future__ import annotations

from extend_pipeline import Deployment, Warehouse

DEPLOYMENT = Deployment(
    workspace="{{ var.value.extend_workspace }}",
    extend_conn_id="extend_default",
    warehouse=Warehouse("warehouse_default", dataset="extend", pool="extend_warehouse"),
    pool="extend",
)
