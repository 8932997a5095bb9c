"""Where documents can land: one module for each kind of warehouse.

To add one, write its module and name it here by the type of its Airflow connections. The module has a
function ``open_warehouse(connection, dataset)`` and a constant ``EXPERIMENTAL``: what it has been tested
with, until it has met the service itself; empty afterwards. A warehouse behind a network is a
:class:`~extend_pipeline.warehouse.remote.destination.Destination` with its dialect and its limits. If no
official provider registers the connection type, its form is in ``extend_provider.connection_types`` and its
*Test* button in :mod:`extend_pipeline.warehouse.hooks`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from extend_pipeline.warehouse.api import Warehouse

#: By the type of a connection, the module of this package that opens it. No driver is imported before that.
MODULES: Final[Mapping[str, str]] = {
    "databricks": "databricks",
    "duckdb": "duckdb",
    "google_cloud_platform": "bigquery",
    "postgres": "postgres",
    "redshift": "redshift",
    "snowflake": "snowflake",
}


class DestinationModule(Protocol):
    """The interface of a module of this package."""

    EXPERIMENTAL: str

    def open_warehouse(self, connection: Connection, dataset: str) -> Warehouse:
        """Return the warehouse that a connection of the module's type names, not open yet.

        :raises WarehouseError: if the connection does not fit, or its driver is not installed.
        """
        ...


def module_for(conn_type: str) -> DestinationModule | None:
    """Import the module for a type of connection; None if documents cannot land through that type."""
    if conn_type not in MODULES:
        return None
    return cast("DestinationModule", importlib.import_module(f"{__name__}.{MODULES[conn_type]}"))
