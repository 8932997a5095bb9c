"""The endpoints of Extend's API about webhooks, written like those in ``endpoints``.

What they are: https://docs.extend.ai/api-reference/endpoints/webhook/create-webhook-endpoint
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from extend_provider.client.calls import ApiCall, json_body, path_of
from extend_provider.client.endpoints import MAX_PAGE_SIZE
from extend_provider.client.models import Page, WebhookEndpoint, WebhookSubscription
from extend_provider.client.wire import Wire, webhooks
from extend_provider.client.wire.base import without_nones


def create_webhook_endpoint(
    wire: Wire,
    url: str,
    name: str,
    *,
    events: Sequence[str] = (),
    status: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> ApiCall[WebhookEndpoint]:
    """Create an endpoint whose events have the shapes of the connection's API version.

    The answer is the only one that has ``signing_secret``.

    :param name: what people read in Extend's dashboard.
    :param events: of the whole workspace; none if subscriptions name all that is wanted.
    :param status: ``enabled``, which it is without it, or ``disabled``.
    :param options: how events are delivered, as :attr:`WebhookEndpoint.options` has it.
    :raises ExtendUnclearSubmissionError: if it is unknown whether the endpoint exists.
    """
    body = {
        "url": url,
        "name": name,
        "enabledEvents": list(events),
        "apiVersion": wire.api_version,
        "status": status,
        "advancedOptions": options or None,
    }
    return ApiCall(
        "POST",
        "/webhook_endpoints",
        intent="create a webhook endpoint",
        repeatable=False,
        headers=webhooks.HEADERS,
        body=json_body(without_nones(body)),
        read=webhooks.webhook_endpoint,
    )


def iter_webhook_endpoint_pages(
    wire: Wire, *, page_size: int = MAX_PAGE_SIZE
) -> ApiCall[Page[WebhookEndpoint]]:
    """List the workspace's endpoints page by page, oldest first."""
    return ApiCall(
        "GET",
        "/webhook_endpoints",
        intent="list the webhook endpoints",
        params={"sortDir": "asc", "maxPageSize": str(page_size)},
        headers=webhooks.HEADERS,
        read=webhooks.webhook_endpoint_page,
    )


def update_webhook_endpoint(
    wire: Wire,
    endpoint_id: str,
    *,
    name: str | None = None,
    status: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> ApiCall[WebhookEndpoint]:
    """Rename an endpoint, switch it on or off (``enabled``, ``disabled``), or change how it delivers."""
    body = {"name": name, "status": status, "advancedOptions": options}
    return ApiCall(
        "POST",
        path_of("webhook_endpoints", endpoint_id),
        intent=f"change webhook endpoint {endpoint_id}",
        headers=webhooks.HEADERS,
        body=json_body(without_nones(body)),
        read=webhooks.webhook_endpoint,
    )


def delete_webhook_endpoint(wire: Wire, endpoint_id: str) -> ApiCall[None]:
    """Delete an endpoint with all its subscriptions."""
    return ApiCall(
        "DELETE",
        path_of("webhook_endpoints", endpoint_id),
        intent=f"delete webhook endpoint {endpoint_id}",
        headers=webhooks.HEADERS,
        read=_nothing,
    )


def create_webhook_subscription(
    wire: Wire, endpoint_id: str, resource_id: str, events: Sequence[str], *, resource_type: str = "workflow"
) -> ApiCall[WebhookSubscription]:
    """Subscribe an endpoint to events of a resource.

    A subscription of this endpoint to this resource that exists already gets these events instead.
    """
    body = {
        "webhookEndpointId": endpoint_id,
        "resourceType": resource_type,
        "resourceId": resource_id,
        "enabledEvents": list(events),
    }
    return ApiCall(
        "POST",
        "/webhook_subscriptions",
        intent=f"subscribe webhook endpoint {endpoint_id} to {resource_type} {resource_id}",
        headers=webhooks.HEADERS,
        body=json_body(body),
        read=webhooks.webhook_subscription,
    )


def iter_webhook_subscription_pages(
    wire: Wire, *, endpoint_id: str | None = None, page_size: int = MAX_PAGE_SIZE
) -> ApiCall[Page[WebhookSubscription]]:
    """List the subscriptions of an endpoint, or of all, page by page."""
    return ApiCall(
        "GET",
        "/webhook_subscriptions",
        intent="list the webhook subscriptions",
        params=without_nones(
            {"webhookEndpointId": endpoint_id, "sortDir": "asc", "maxPageSize": str(page_size)}
        ),
        headers=webhooks.HEADERS,
        read=webhooks.webhook_subscription_page,
    )


def delete_webhook_subscription(wire: Wire, subscription_id: str) -> ApiCall[None]:
    """Delete a subscription."""
    return ApiCall(
        "DELETE",
        path_of("webhook_subscriptions", subscription_id),
        intent=f"delete webhook subscription {subscription_id}",
        headers=webhooks.HEADERS,
        read=_nothing,
    )


def _nothing(body: object) -> None:
    """Read nothing, because the status is the whole answer."""
