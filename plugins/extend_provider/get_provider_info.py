"""What Airflow is told of this package: its connection type with its form, its modules, its links."""

from __future__ import annotations

from typing import Any

from extend_provider import __version__
from extend_provider.connection_types import connection_types


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description as Airflow's entry point gives it."""
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
        "triggers": [_modules("triggers.batch", "triggers.submission", "triggers.run")],
        "cli": ["extend_provider.cli.get_extend_cli_commands"],
        "extra-links": ["extend_provider.links.dashboard.ExtendDashboardLink"],
        "connection-types": connection_types(),
        "plugins": [
            {
                "name": "extend_webhooks",
                "plugin-class": "extend_provider.webhooks.plugin.ExtendWebhooksPlugin",
            }
        ],
        "config": {
            "extend": {
                "description": "Webhooks of Extend.",
                "options": {
                    "webhook_conn_ids": {
                        "description": "Connections of type extend that webhooks are taken for, with commas "
                        "between them. Their URL is <base URL>/extend/webhooks/<connection>.\n",
                        "version_added": __version__,
                        "type": "string",
                        "example": "extend_default,extend_eu",
                        "default": "extend_default",
                    }
                },
            }
        },
    }


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": "Extend", "python-modules": [f"extend_provider.{name}" for name in names]}
