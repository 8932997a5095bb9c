"""What Airflow is told of this package."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description for Airflow's provider discovery."""
    return {
        "package-name": "airflow-provider-extend",
        "name": "Extend",
        "description": "Batches of documents through Extend (extend.ai).",
        "versions": ["0.1.0"],
    }
