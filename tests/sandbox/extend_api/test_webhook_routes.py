"""Endpoints and subscriptions of the emulator: who may listen to what. The judge is the SDK."""

from __future__ import annotations

from typing import Any

import pytest
from extend_ai.errors import NotFoundError
from extend_ai.types.webhook_endpoint_event_type import WebhookEndpointEventType

from fixtures.extend.api import NEWEST, ExtendApi
from fixtures.extend.contract import OLDER
from fixtures.extend.emulated import COMPLETED, ENDPOINT


def test_sdk_manages_endpoints_and_sees_the_secret_once(client: Any) -> None:
    created = client.webhook_endpoints.create(
        url="https://acme.test/hook",
        name="Acme",
        enabled_events=[WebhookEndpointEventType.WORKFLOW_DEPLOYED],
        api_version=NEWEST,
        advanced_options={"headers": {"X-Tenant": "a"}, "payload": {"format": "json"}},
    )
    assert created.signing_secret.startswith("wss_")
    read = client.webhook_endpoints.retrieve(created.id)
    assert not hasattr(read, "signing_secret")
    assert (read.status, read.api_version, read.enabled_events) == ("enabled", NEWEST, ["workflow.deployed"])
    changed = client.webhook_endpoints.update(
        created.id, status="disabled", advanced_options={"payload": {"format": "url"}}
    )
    assert (changed.status, changed.url) == ("disabled", "https://acme.test/hook")
    assert (changed.advanced_options.headers, changed.advanced_options.payload.format) == (
        {"X-Tenant": "a"},
        "url",
    )
    others = [
        client.webhook_endpoints.create(url=f"http://{n}.test", name=n, enabled_events=[], api_version=NEWEST)
        for n in ("b", "c")
    ]
    page = client.webhook_endpoints.list(max_page_size=2, sort_dir="asc")
    rest = client.webhook_endpoints.list(sort_dir="asc", next_page_token=page.next_page_token)
    assert [each.name for each in (*page.data, *rest.data)] == ["Acme", "b", "c"]
    assert rest.next_page_token is None
    assert [each.id for each in client.webhook_endpoints.list(status="enabled").data] == [
        each.id for each in reversed(others)
    ]
    assert client.webhook_endpoints.delete(created.id).id == created.id
    with pytest.raises(NotFoundError):
        client.webhook_endpoints.retrieve(created.id)


def test_sdk_manages_subscriptions_which_go_with_their_endpoint(client: Any) -> None:
    endpoint = client.webhook_endpoints.create(
        url="http://a.test", name="a", enabled_events=[], api_version=NEWEST
    )

    def subscribe(resource: str, kind: str, *names: Any) -> Any:
        return client.webhook_subscriptions.create(
            webhook_endpoint_id=endpoint.id, resource_type=kind, resource_id=resource, enabled_events=names
        )

    first = subscribe("workflow_invoices", "workflow", COMPLETED)
    again = subscribe("workflow_invoices", "workflow", "workflow_run.failed")
    assert (again.id, again.enabled_events) == (first.id, ["workflow_run.failed"])
    other = subscribe("ex_invoices", "extractor", "extract_run.processed")
    listed = client.webhook_subscriptions.list
    assert [each.id for each in listed(webhook_endpoint_id=endpoint.id).data] == [other.id, first.id]
    assert [each.id for each in listed(resource_id="workflow_invoices").data] == [first.id]
    assert listed(webhook_endpoint_id="wh_other").data == []
    updated = client.webhook_subscriptions.update(first.id, enabled_events=[COMPLETED])
    assert client.webhook_subscriptions.retrieve(first.id).enabled_events == updated.enabled_events
    assert client.webhook_subscriptions.delete(other.id).id == other.id
    client.webhook_endpoints.delete(endpoint.id)
    assert listed().data == []
    with pytest.raises(NotFoundError):
        client.webhook_subscriptions.retrieve(first.id)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        pytest.param({"apiVersion": ...}, "apiVersion", id="no version"),
        pytest.param({"apiVersion": "2020-01-01"}, "apiVersion", id="unknown version"),
        pytest.param({"url": "acme.test/hook"}, "url", id="no URL"),
        pytest.param({"name": " "}, "name", id="no name"),
        pytest.param({"status": "paused"}, "status", id="status"),
        pytest.param({"enabledEvents": ["workflow_run.completed"]}, "enabledEvents[0]", id="event of a run"),
        pytest.param({"enabledEvents": ["processor.created"]}, "enabledEvents[0]", id="older event"),
        pytest.param({"secret": "wss_mine"}, "secret", id="unknown key"),
        pytest.param({"advancedOptions": {"payload": {"format": "xml"}}}, "format", id="format"),
        pytest.param({"advancedOptions": {"retries": 3}}, "retries", id="unknown option"),
    ],
)
def test_wrong_endpoint_is_refused(extend_api: ExtendApi, changes: dict[str, Any], path: str) -> None:
    body = {name: value for name, value in {**ENDPOINT, **changes}.items() if value is not ...}
    answer = extend_api.call("POST", "/webhook_endpoints", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert path in answer.json()["message"]
    assert extend_api.call("GET", "/webhook_endpoints").json()["data"] == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"webhookEndpointId": "wh_other"}, 404, id="endpoint"),
        pytest.param({"resourceId": "workflow_other"}, 404, id="workflow"),
        pytest.param({"resourceId": "ex_invoices"}, 404, id="not a workflow"),
        pytest.param({"resourceType": "extractor", "resourceId": "cl_documents"}, 404, id="not an extractor"),
        pytest.param({"resourceType": "batch"}, 400, id="type"),
        pytest.param({"enabledEvents": ["extract_run.processed"]}, 400, id="event of another type"),
        pytest.param({"enabledEvents": ["workflow_run.done"]}, 400, id="unknown event"),
        pytest.param({"name": "x"}, 400, id="unknown key"),
    ],
)
def test_wrong_subscription_is_refused(extend_api: ExtendApi, changes: dict[str, Any], status: int) -> None:
    endpoint = extend_api.call("POST", "/webhook_endpoints", json=ENDPOINT).json()
    body = {
        "webhookEndpointId": endpoint["id"],
        "resourceType": "workflow",
        "resourceId": "workflow_invoices",
        "enabledEvents": ["workflow_run.completed"],
    }
    answer = extend_api.call("POST", "/webhook_subscriptions", json={**body, **changes})
    assert answer.status_code == status, answer.text
    assert extend_api.call("GET", "/webhook_subscriptions").json()["data"] == []


def test_version_of_an_endpoint_stays_and_decides_on_its_events(extend_api: ExtendApi) -> None:
    endpoint = extend_api.call("POST", "/webhook_endpoints", json={**ENDPOINT, "apiVersion": OLDER}).json()
    path = f"/webhook_endpoints/{endpoint['id']}"
    assert extend_api.call("POST", path, json={"apiVersion": NEWEST}).status_code == 400
    assert extend_api.call("POST", path, json={"enabledEvents": ["extract_run.failed"]}).status_code == 400
    assert extend_api.call("POST", path, json={"enabledEvents": ["processor_run.failed"]}).ok
    subscription = {
        "webhookEndpointId": endpoint["id"],
        "resourceType": "workflow",
        "resourceId": "workflow_invoices",
    }
    for event, status in (("cancelled", 400), ("rejected", 200)):
        body = {**subscription, "enabledEvents": [f"workflow_run.{event}"]}
        assert extend_api.call("POST", "/webhook_subscriptions", json=body).status_code == status


def test_older_version_has_no_routes_for_webhooks(extend_api: ExtendApi) -> None:
    for path in ("/webhook_endpoints", "/webhook_subscriptions"):
        assert extend_api.call("GET", path, version=OLDER).status_code == 404
