"""The connection type ``extend`` with its form, as ``get_provider_info`` describes it to Airflow.

Only the standard library is imported, because Airflow reads this in every process it starts.
"""

from __future__ import annotations

from typing import Any


def connection_types() -> list[dict[str, Any]]:
    """Return the connection types of the provider."""
    return [_extend()]


def _extend() -> dict[str, Any]:
    return {
        "connection-type": "extend",
        "hook-class-name": "extend_provider.hooks.extend.ExtendHook",
        "hook-name": "Extend",
        "conn-fields": {
            "workspace_id": text_field(
                "Workspace ID", "ws_…; needed for an API key of an organization, not for one of a workspace."
            ),
            "api_version": {
                "label": "API version",
                "description": "The version of Extend's API to use.",
                # Written out, because nothing is imported here; a test compares it with the wire.
                "schema": {
                    "type": ["string", "null"],
                    "enum": ["2026-02-09", "2025-04-21"],
                    "default": "2026-02-09",
                },
            },
            "requests_per_second": number_field(
                "Requests per second",
                "Start and upper bound for each Airflow process; empty: it learns what Extend allows.",
                exclusiveMinimum=0,
            ),
            "acceptance_window": number_field(
                "Acceptance window",
                "Seconds in which Extend may still accept a submission without an answer; empty for 300.",
                exclusiveMinimum=0,
            ),
            "listing_grace": number_field(
                "Listing grace",
                "Seconds that accepted runs may be missing from Extend's list; empty for 120.",
                minimum=0,
            ),
            "webhook_secrets": secret_field(
                "Webhook secrets",
                "wss_…; what Extend signs webhooks with. Several, with commas, while one is rotated.",
            ),
            "webhook_inbox": text_field(
                "Webhook inbox",
                "Where webhooks are kept until they have landed, e.g. s3://aws_default@bucket/extend/inbox; "
                "empty to poll for results.",
            ),
            "webhook_queue": text_field(
                "Webhook queue",
                "URL of the SQS queue that carries webhooks, where Extend cannot reach Airflow.",
            ),
            "webhook_queue_conn_id": text_field(
                "Connection of the webhook queue", "Of type aws; empty for aws_default."
            ),
            "webhook_payload_hosts": text_field(
                "Hosts of webhook payloads",
                "Hosts that large payloads may be fetched from; empty for *.amazonaws.com, *.extend.ai, "
                "*.extend.app.",
            ),
        },
        "ui-field-behaviour": {
            # The port is shown: Airflow 3.3 refuses the Test of a stored connection that has none.
            "hidden-fields": ["login", "schema"],
            "relabeling": {"host": "Base URL", "password": "API key"},
            "placeholders": {
                "host": "https://api.extend.ai (US2: api.us2.extend.app, EU: api.eu1.extend.ai)",
                "password": "sk_…",
                "port": "443",
            },
        },
    }


def text_field(label: str, description: str) -> dict[str, Any]:
    """Return a field of a form for a text; it may stay empty."""
    return {"label": label, "description": description, "schema": {"type": ["string", "null"]}}


def secret_field(label: str, description: str) -> dict[str, Any]:
    """Return a field of a form for a text that is not shown."""
    schema = {"type": ["string", "null"], "format": "password"}
    return {"label": label, "description": description, "schema": schema}


def number_field(label: str, description: str, **bounds: int) -> dict[str, Any]:
    """Return a field of a form for a number, with its bounds as JSON Schema names them."""
    return {"label": label, "description": description, "schema": {"type": ["number", "null"], **bounds}}
