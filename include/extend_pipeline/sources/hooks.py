"""The connection type that sources in Azure are read through, where Azure's own provider is not installed."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import BaseHook


class AzureStorageHook(BaseHook):
    """Names the type, so that Airflow stores it as what it is; nothing is read through it."""

    conn_name_attr = "wasb_conn_id"
    default_conn_name = "wasb_default"
    conn_type = "wasb"
    hook_name = "Azure Blob Storage"
