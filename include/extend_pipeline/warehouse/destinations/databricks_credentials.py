"""How the Databricks SDK authenticates, from an Airflow connection of type ``databricks``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from extend_pipeline.warehouse.records import WarehouseError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def credentials(connection: Connection) -> dict[str, Any]:
    """Return the SDK's settings for one way to authenticate, so that it ignores the environment.

    :raises WarehouseError: if the connection has no token and no secret.
    """
    extra = connection.extra_dejson
    token = extra.get("token") or connection.password
    if not token:
        raise WarehouseError(
            f"Connection {connection.conn_id!r} needs a personal access token, or a service principal's "
            "secret, as its password."
        )
    if extra.get("azure_tenant_id"):
        return {
            "auth_type": "azure-client-secret",
            "azure_client_id": connection.login,
            "azure_client_secret": connection.password,
            "azure_tenant_id": extra["azure_tenant_id"],
            "azure_workspace_resource_id": extra.get("azure_resource_id"),
        }
    if extra.get("service_principal_oauth"):
        return {
            "auth_type": "oauth-m2m",
            "client_id": connection.login,
            "client_secret": connection.password,
        }
    return {"auth_type": "pat", "token": token}
