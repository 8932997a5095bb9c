"""Where documents can land: one module for each kind of warehouse.

To add one, write its module and an entry in :data:`extend_pipeline.connection_types.DESTINATIONS`, which has
its form in Airflow; its *Test* button follows from that. The module has a function
``open_warehouse(connection, dataset)`` and a constant ``EXPERIMENTAL``: what it has been tested with, until
it has met the service itself; empty afterwards. A warehouse behind a network is a
:class:`~extend_pipeline.warehouse.remote.destination.Destination` with its dialect and its limits.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from extend_pipeline.connection_types import DESTINATIONS

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from extend_pipeline.warehouse.api import Warehouse


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
    if conn_type not in DESTINATIONS:
        return None
    return cast("DestinationModule", importlib.import_module(f"{__name__}.{DESTINATIONS[conn_type].module}"))
