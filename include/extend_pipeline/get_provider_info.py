"""What Airflow learns about this distribution: the provider, and what the pipeline adds to it.

Airflow reads one entry point of a distribution, and this one holds both packages, so the upper one composes.
"""

from __future__ import annotations

from typing import Any

from extend_pipeline.connection_types import connection_types
from extend_provider.get_provider_info import get_provider_info as get_extend_info


def get_provider_info() -> dict[str, Any]:
    """Return the description of both packages; Airflow finds this function by the entry point."""
    extend = get_extend_info()
    return {
        **extend,
        # The tables that land, named for OpenLineage as other tools name them.
        "asset-uris": [
            {
                "schemes": ["x-extend"],
                "handler": None,
                "to_openlineage_converter": "extend_pipeline.dag.lineage.as_openlineage",
            }
        ],
        "connection-types": [*extend["connection-types"], *connection_types()],
    }
