"""What Airflow is told of this package: its connection type with the form, its modules, its links."""

from __future__ import annotations

from typing import Any

from extend_provider import __version__


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description; Airflow finds this function by the entry point of the package."""
    return {
        "package-name": "airflow-provider-extend",
        "name": "Extend",
        "description": "Batches of documents through Extend (extend.ai).",
        "versions": [__version__],
        "integrations": [
            {"integration-name": "Extend", "external-doc-url": "https://docs.extend.ai", "tags": ["service"]}
        ],
        "hooks": [_modules("hooks.extend")],
        "operators": [_modules("operators.run_workflow", "operators.submit_batch")],
        "sensors": [_modules("sensors.batch")],
        "triggers": [_modules("triggers.batch", "triggers.later", "triggers.run")],
        # Tables that extend_pipeline lands, named for OpenLineage as other tools name them.
        "asset-uris": [
            {
                "schemes": ["x-extend"],
                "handler": None,
                "to_openlineage_converter": "extend_pipeline.lineage.as_openlineage",
            }
        ],
        "extra-links": ["extend_provider.links.dashboard.ExtendDashboardLink"],
        "connection-types": [
            {
                "connection-type": "extend",
                "hook-class-name": "extend_provider.hooks.extend.ExtendHook",
                "hook-name": "Extend",
                "conn-fields": _fields(),
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"host": "Base URL", "password": "API key"},
                    "placeholders": {
                        "host": "https://api.extend.ai (US2: api.us2.extend.app, EU: api.eu1.extend.ai)",
                        "password": "sk_…",
                    },
                },
            }
        ],
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": "Extend", "python-modules": [f"extend_provider.{name}" for name in names]}


def _fields() -> dict[str, Any]:
    return {
        "workspace_id": {
            "label": "Workspace ID",
            "description": "ws_…; needed for an API key of an organization, not for one of a workspace.",
            "schema": {"type": ["string", "null"]},
        },
        "api_version": {
            "label": "API version",
            "description": "The version of Extend's API to speak.",
            # Written out, because Airflow reads this in every process it starts; a test holds it to the wire.
            "schema": {
                "type": ["string", "null"],
                "enum": ["2026-02-09", "2025-04-21"],
                "default": "2026-02-09",
            },
        },
        "requests_per_second": {
            "label": "Requests per second",
            "description": "Limit of each Airflow process, shared by its tasks and triggers; empty for none.",
            "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
        },
        "acceptance_window": {
            "label": "Acceptance window",
            "description": "Seconds in which Extend may still accept a submission without an answer; "
            "empty for 300.",
            "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
        },
        "listing_grace": {
            "label": "Listing grace",
            "description": "Seconds that accepted runs may be missing from Extend's list; empty for 120.",
            "schema": {"type": ["number", "null"], "minimum": 0},
        },
    }
