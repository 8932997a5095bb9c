"""Webhook endpoints and subscriptions: one shape, that of the only version which documents their routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extend_provider.client.models import Page, WebhookEndpoint, WebhookSubscription
from extend_provider.client.wire.base import next_page_token
from extend_provider.client.wire.reading import Json, body_list, body_mapping, mapping, required_text, text
from extend_provider.client.wire.v2025_04_21 import Wire20250421
from extend_provider.client.wire.v2026_02_09 import Wire20260209

#: Says which shapes a request and its answer have, whatever version the connection is of. Which version the
#: events have that an endpoint gets is a field of the endpoint.
HEADERS: Final = {"x-extend-api-version": Wire20260209.api_version}

_RUN_EVENTS: Final = tuple(
    f"workflow_run.{what}" for what in ("completed", "failed", "needs_review", "rejected", "cancelled")
)
#: The events that have a run in them and that an endpoint of an API version may subscribe to, as the official
#: SDKs list them (1.20.0: ``webhook_subscription_event_type``, 0.2.0: ``webhook_event_event_type``).
RUN_EVENTS: Final[Mapping[str, tuple[str, ...]]] = {
    Wire20260209.api_version: _RUN_EVENTS,
    Wire20250421.api_version: _RUN_EVENTS[:-1],
}


def webhook_endpoint(body: object) -> WebhookEndpoint:
    """Read the endpoint that create, get and update answer."""
    return _endpoint(body_mapping(body))


def webhook_endpoint_page(body: object) -> Page[WebhookEndpoint]:
    """Read a page of ``GET /webhook_endpoints``."""
    return Page(tuple(_endpoint(each) for each in body_list(body, "data")), next_page_token(body))


def webhook_subscription(body: object) -> WebhookSubscription:
    """Read the subscription that create, get and update answer."""
    return _subscription(body_mapping(body))


def webhook_subscription_page(body: object) -> Page[WebhookSubscription]:
    """Read a page of ``GET /webhook_subscriptions``."""
    return Page(tuple(_subscription(each) for each in body_list(body, "data")), next_page_token(body))


def _endpoint(raw: Json) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=required_text(raw, "id"),
        url=required_text(raw, "url"),
        name=text(raw, "name"),
        status=text(raw, "status"),
        api_version=text(raw, "apiVersion"),
        events=_events(raw),
        options=mapping(raw, "advancedOptions"),
        created_at=text(raw, "createdAt"),
        signing_secret=text(raw, "signingSecret"),
    )


def _subscription(raw: Json) -> WebhookSubscription:
    return WebhookSubscription(
        id=required_text(raw, "id"),
        endpoint_id=text(raw, "webhookEndpointId"),
        resource_type=text(raw, "resourceType"),
        resource_id=text(raw, "resourceId"),
        events=_events(raw),
        created_at=text(raw, "createdAt"),
    )


def _events(raw: Json) -> tuple[str, ...]:
    listed = raw.get("enabledEvents")
    return tuple(each for each in listed if isinstance(each, str)) if isinstance(listed, list) else ()
