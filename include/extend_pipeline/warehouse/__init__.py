"""Where documents land: typed tables that can be joined, audited and rebuilt.

The destination is an Airflow connection and a dataset (a schema in it). Opening it, asking what has not
landed yet and landing a part is all that the pipeline does with it; nothing heavy is imported before that.
"""

from __future__ import annotations

from extend_pipeline.warehouse.api import Warehouse
from extend_pipeline.warehouse.open import open_warehouse, publish_snapshot
from extend_pipeline.warehouse.records import (
    Landing,
    LandingPolicy,
    Provenance,
    SchemaContractError,
    WarehouseError,
)

__all__ = [
    "Landing",
    "LandingPolicy",
    "Provenance",
    "SchemaContractError",
    "Warehouse",
    "WarehouseError",
    "open_warehouse",
    "publish_snapshot",
]
