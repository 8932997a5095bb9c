"""Webhook endpoints and subscriptions: what is sent, and what is read of Extend's own examples."""

from __future__ import annotations

from typing import Any

import pytest

from extend_provider.client.models import WebhookEndpoint, WebhookSubscription
from extend_provider.exceptions import ExtendUnclearSubmissionError
from fixtures.extend.hook_runner import HookRunner
from fixtures.extend.scripted_server import Reply

SECRET = "wss_Av9uCQNrCIEe0XpEpsQUVjEJYr4udK9N"
OPTIONS = {"headers": {"key": "value"}, "payload": {"format": "json", "urlThresholdBytes": 1}}
ENDPOINT = {
    "object": "webhook_endpoint",
    "id": "wh_1",
    "url": "https://example.com/webhooks",
    "name": "Production webhook",
    "status": "enabled",
    "enabledEvents": ["extract_run.processed"],
    "apiVersion": "2026-02-09",
    "advancedOptions": OPTIONS,
    "createdAt": "2024-01-15T09:30:00Z",
}
SUBSCRIPTION = {
    "object": "webhook_subscription",
    "id": "whes_1",
    "webhookEndpointId": "wh_1",
    "resourceType": "workflow",
    "resourceId": "workflow_1",
    "enabledEvents": ["workflow_run.completed"],
    "createdAt": "2024-01-15T09:30:00Z",
}


@pytest.mark.parametrize("api_version", ["2026-02-09", "2025-04-21"])
def test_an_endpoint_is_pinned_to_the_version_of_the_connection(
    hooks: HookRunner, serve: Any, api_version: str
) -> None:
    """The routes themselves are documented in the newest version only, so they are asked in that one."""
    created = Reply(body={**ENDPOINT, "signingSecret": SECRET})
    server = serve(created, extra={"api_version": api_version})
    endpoint = hooks.run(
        lambda hook: hook.create_webhook_endpoint("https://example.com/webhooks", "n", status="disabled")
    )
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/webhook_endpoints")
    assert request.headers["x-extend-api-version"] == "2026-02-09"
    assert request.json == {
        "url": "https://example.com/webhooks",
        "name": "n",
        "enabledEvents": [],
        "apiVersion": api_version,
        "status": "disabled",
    }
    assert endpoint == WebhookEndpoint(
        "wh_1",
        "https://example.com/webhooks",
        "Production webhook",
        "enabled",
        "2026-02-09",
        ("extract_run.processed",),
        OPTIONS,
        "2024-01-15T09:30:00Z",
        SECRET,
    )
    assert SECRET not in repr(endpoint)


def test_an_endpoint_is_not_created_twice_when_no_answer_comes(hooks: HookRunner, serve: Any) -> None:
    server = serve(Reply(fault="drop"))
    with pytest.raises(ExtendUnclearSubmissionError, match="create a webhook endpoint"):
        hooks.run(lambda hook: hook.create_webhook_endpoint("https://example.com/webhooks", "n"))
    assert len(server.requests) == 1


def test_endpoints_and_subscriptions_are_listed_over_all_pages(hooks: HookRunner, serve: Any) -> None:
    server = serve(
        Reply(body={"object": "list", "data": [ENDPOINT], "nextPageToken": "next"}),
        Reply(body={"object": "list", "data": [{**ENDPOINT, "id": "wh_2"}]}),
        Reply(body={"object": "list", "data": [SUBSCRIPTION]}),
    )
    pages = hooks.run(lambda hook: hook.iter_webhook_endpoint_pages())
    assert [endpoint.id for page in pages for endpoint in page] == ["wh_1", "wh_2"]
    ((subscription,),) = hooks.run(lambda hook: hook.iter_webhook_subscription_pages(endpoint_id="wh_1"))
    assert subscription == WebhookSubscription(
        "whes_1", "wh_1", "workflow", "workflow_1", ("workflow_run.completed",), "2024-01-15T09:30:00Z"
    )
    first, second, third = server.requests
    assert first.params == {"sortDir": "asc", "maxPageSize": "1000"}
    assert second.params == {**first.params, "nextPageToken": "next"}
    assert third.params == {**first.params, "webhookEndpointId": "wh_1"}
    assert {each.headers["x-extend-api-version"] for each in server.requests} == {"2026-02-09"}


def test_endpoints_and_subscriptions_are_changed_by_their_ids(hooks: HookRunner, serve: Any) -> None:
    gone = Reply(body={"id": "x"})
    server = serve(Reply(body=ENDPOINT), Reply(body=SUBSCRIPTION), gone, gone)
    hooks.run(
        lambda hook: hook.update_webhook_endpoint("wh_1", name="n", status="enabled"),
        lambda hook: hook.create_webhook_subscription("wh_1", "workflow_1", ["workflow_run.completed"]),
        lambda hook: hook.delete_webhook_subscription("whes_1"),
        lambda hook: hook.delete_webhook_endpoint("wh_1"),
    )
    changed, subscribed, *deleted = server.requests
    assert (changed.method, changed.path) == ("POST", "/webhook_endpoints/wh_1")
    assert changed.json == {"name": "n", "status": "enabled"}
    assert (subscribed.method, subscribed.path) == ("POST", "/webhook_subscriptions")
    assert subscribed.json == {
        key: SUBSCRIPTION[key] for key in ("webhookEndpointId", "resourceType", "resourceId", "enabledEvents")
    }
    assert [f"{each.method} {each.path}" for each in deleted] == [
        "DELETE /webhook_subscriptions/whes_1",
        "DELETE /webhook_endpoints/wh_1",
    ]
