"""Registers the receiver in the stack's Airflow at Extend's emulator, and tells the connection about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import httpx
import msgspec

from sandbox.airflow_settings import AirflowSettings

CONNECTION: Final = "extend_default"
#: Where Airflow's API server serves the receiver; below it is one path for each connection.
MOUNT: Final = "/extend/webhooks"
WORKSPACE_VARIABLE: Final = "extend_workspace"
#: Folder of the workspace for the events that have come.
INBOX: Final = "inbox"
#: Of a step no event is needed: the event of its run has all steps.
EVENTS: Final = tuple(
    f"workflow_run.{end}" for end in ("completed", "failed", "needs_review", "rejected", "cancelled")
)
TIMEOUT_SECONDS: Final = 30


def receiver_url(airflow_url: str) -> str:
    """Return the address that the emulator delivers events to."""
    return f"{airflow_url}{MOUNT}/{CONNECTION}"


def connected(
    settings: AirflowSettings, on_step: Callable[[str], None], *, extend_url: str, airflow_url: str
) -> AirflowSettings:
    """Register an endpoint and subscriptions to all workflows; return the settings with secret and inbox.

    :param settings: the settings with the stack's own addresses.
    :param on_step: called with the reason if Airflow has no receiver, or the emulator refuses something.
    :return: the same settings then, and if the connection leads elsewhere, has an inbox, or there is no
        workspace: runs are polled.
    """
    connection = settings.connection(CONNECTION) or {}
    extra = json.loads(connection.get("extra") or "{}")
    workspace = settings.variable(WORKSPACE_VARIABLE)
    if connection.get("host") != extend_url or "webhook_inbox" in extra or not workspace:
        return settings
    headers = {"Authorization": f"Bearer {connection.get('password')}", "x-extend-api-version": "2026-02-09"}
    # trust_env=False: the loopback interface needs no proxy
    with httpx.Client(base_url=extend_url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
        try:
            if not _is_served(receiver_url(airflow_url)):
                on_step(
                    "no webhooks, runs are polled: Airflow does not have the project's plugin; make setup"
                )
                return settings
            secret = _register(http, receiver_url(airflow_url))
        except httpx.HTTPError as error:
            on_step(f"no webhooks, runs are polled: {error}")
            return settings
    extra |= {
        "webhook_secrets": secret,
        "webhook_inbox": f"{workspace.rstrip('/')}/{INBOX}",
        "webhook_payload_hosts": extend_url,
    }
    return msgspec.structs.replace(settings, connections=list(_with_extra(settings, extra)))


def _is_served(url: str) -> bool:
    """Return True if Airflow has the receiver, which takes only POST; elsewhere Airflow shows its UI."""
    return httpx.get(url, timeout=TIMEOUT_SECONDS, trust_env=False).status_code == httpx.codes.NOT_FOUND


def _register(http: httpx.Client, url: str) -> str:
    """Register the receiver for the ends of all workflows' runs; return the signing secret."""
    endpoint = _post(
        http,
        "/webhook_endpoints",
        {"url": url, "name": "Airflow in the sandbox", "apiVersion": "2026-02-09", "enabledEvents": []},
    )
    workflows = http.get("/workflows").raise_for_status().json()["data"]
    for workflow in workflows:
        subscription = {
            "webhookEndpointId": endpoint["id"],
            "resourceType": "workflow",
            "resourceId": workflow["id"],
            "enabledEvents": EVENTS,
        }
        _post(http, "/webhook_subscriptions", subscription)
    return str(endpoint["signingSecret"])


def _post(http: httpx.Client, path: str, body: Mapping[str, Any]) -> Any:
    return http.post(path, json=body).raise_for_status().json()


def _with_extra(settings: AirflowSettings, extra: dict[str, Any]) -> Iterator[Any]:
    for connection in settings.connections or ():
        is_meant = connection.conn_id == CONNECTION
        yield msgspec.structs.replace(connection, conn_extra=extra) if is_meant else connection
