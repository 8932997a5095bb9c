"""Hooks of the connection types that documents land through, for Airflow's forms and their *Test* button.

Airflow imports this module on servers that may lack the drivers, which only the tests import. Where an
official provider is installed, it registers its connection type itself, and its own hook is used.
"""

from __future__ import annotations

from typing import Any, Final

from airflow.providers.common.compat.sdk import BaseHook

from extend_pipeline.connection_types import DESTINATIONS, WarehouseType


class WarehouseHook(BaseHook):
    """Tests a connection to a warehouse.

    :param conn_id: the connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "warehouse_default"

    def __init__(self, conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Connect, and look for what has landed in the dataset ``extend``; nothing is made or changed.

        A destination that has a function ``describe`` answers for itself.
        """
        from extend_pipeline.warehouse.destinations import module_for
        from extend_pipeline.warehouse.open import open_warehouse
        from extend_pipeline.warehouse.records import WarehouseError

        connection = self.get_connection(self.conn_id)
        destination = module_for(connection.conn_type or "")
        describe = getattr(destination, "describe", None)
        try:
            if describe is not None:
                return True, describe(connection)
            with open_warehouse(self.conn_id, "extend") as warehouse:
                counts = warehouse.counts()
        except WarehouseError as error:
            return False, str(error)
        note = destination.EXPERIMENTAL if destination else ""
        experimental = f" This kind of warehouse is experimental. {note}" if note else ""
        if "documents" not in counts:
            found = "There is no dataset 'extend' yet; a DAG's first load makes its dataset."
        else:
            found = f"Dataset 'extend': {counts['documents']:,} documents."
        return True, f"Connected. {found}{experimental}"


def _hook(kind: str, destination: WarehouseType) -> type[WarehouseHook]:
    fields = {"conn_type": kind, "hook_name": destination.name, "__module__": __name__}
    return type(destination.hook, (WarehouseHook,), fields)


#: By the type of a connection.
HOOKS: Final = {kind: _hook(kind, destination) for kind, destination in DESTINATIONS.items()}
globals().update((hook.__name__, hook) for hook in HOOKS.values())  # Airflow imports a hook by its name
