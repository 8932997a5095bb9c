"""The webhook endpoints and subscriptions (2026-02-09 only), and the address of payloads sent as a URL.

Unlike in other bodies, an unknown key is refused here, as the service does. An update leaves out what stays.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from sandbox.extend_api.emulator import Emulator
from sandbox.extend_api.errors import InvalidRequest
from sandbox.extend_api.routes import queries
from sandbox.extend_api.routes.gate import Call
from sandbox.extend_api.shapes import SHAPES
from sandbox.extend_api.shapes.common import decode
from sandbox.extend_api.signed_urls import check_query
from sandbox.extend_api.state.model import iso
from sandbox.extend_api.webhooks.events import GLOBAL, SCOPED, ResourceType, check_events, check_resource
from sandbox.extend_api.webhooks.registry import (
    AdvancedOptions,
    Endpoint,
    EndpointStatus,
    Registry,
    Subscription,
    page,
)

_URL = re.compile(r"https?://[^/\s]+")


class _NewEndpoint(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    name: str
    enabledEvents: list[str]  # noqa: N815 - the wire's name
    apiVersion: str  # noqa: N815 - the wire's name
    status: EndpointStatus = "enabled"
    advancedOptions: AdvancedOptions | None = None  # noqa: N815 - the wire's name


class _EndpointChanges(msgspec.Struct, forbid_unknown_fields=True):
    url: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    status: EndpointStatus | UnsetType = UNSET
    enabledEvents: list[str] | UnsetType = UNSET  # noqa: N815 - the wire's name
    advancedOptions: AdvancedOptions | UnsetType = UNSET  # noqa: N815 - the wire's name


class _NewSubscription(msgspec.Struct, forbid_unknown_fields=True):
    webhookEndpointId: str  # noqa: N815 - the wire's name
    resourceType: ResourceType  # noqa: N815 - the wire's name
    resourceId: str  # noqa: N815 - the wire's name
    enabledEvents: list[str]  # noqa: N815 - the wire's name


class _SubscriptionChanges(msgspec.Struct, forbid_unknown_fields=True):
    enabledEvents: list[str]  # noqa: N815 - the wire's name


_new_endpoint = msgspec.json.Decoder(_NewEndpoint)
_endpoint_changes = msgspec.json.Decoder(_EndpointChanges)
_new_subscription = msgspec.json.Decoder(_NewSubscription)
_subscription_changes = msgspec.json.Decoder(_SubscriptionChanges)


async def create_endpoint(call: Call) -> Any:
    """``POST /webhook_endpoints``: the only answer that has the signing secret."""
    body = decode(_new_endpoint, await call.request.body())
    if body.apiVersion not in SHAPES:
        raise InvalidRequest(f"Invalid API version; expected one of {', '.join(SHAPES)}", "apiVersion")
    check_events(body.enabledEvents, GLOBAL[body.apiVersion])
    endpoint = Endpoint(
        url=_checked_url(body.url),
        name=_checked_name(body.name),
        api_version=body.apiVersion,
        enabled_events=tuple(body.enabledEvents),
        served_at=str(call.request.base_url).rstrip("/"),
        status=body.status,
        options=body.advancedOptions or AdvancedOptions(),
    )
    _registry(call).add_endpoint(endpoint)
    return {**_endpoint(endpoint), "signingSecret": endpoint.secret}


async def list_endpoints(call: Call) -> Any:
    """``GET /webhook_endpoints``: in pages, by ``status`` if it is given."""
    status = call.request.query_params.get("status")
    if status not in (None, "enabled", "disabled"):
        raise InvalidRequest("Invalid enum value; expected one of enabled, disabled", "status")
    found = [each for each in _registry(call).endpoints.values() if status in (None, each.status)]
    items, rest = _page(call, found)
    return {"object": "list", "data": [_endpoint(each) for each in items], **rest}


async def get_endpoint(call: Call) -> Any:
    """``GET /webhook_endpoints/{id}``."""
    return _endpoint(_registry(call).endpoint(call.id))


async def update_endpoint(call: Call) -> Any:
    """``POST /webhook_endpoints/{id}``: everything but the API version."""
    endpoint = _registry(call).endpoint(call.id)
    body = decode(_endpoint_changes, await call.request.body())
    if body.enabledEvents is not UNSET:
        check_events(body.enabledEvents, GLOBAL[endpoint.api_version])
        endpoint.enabled_events = tuple(body.enabledEvents)
    if body.url is not UNSET:
        endpoint.url = _checked_url(body.url)
    if body.name is not UNSET:
        endpoint.name = _checked_name(body.name)
    if body.status is not UNSET:
        endpoint.status = body.status
    if body.advancedOptions is not UNSET:
        given = msgspec.structs.asdict(body.advancedOptions)
        changed = {name: value for name, value in given.items() if value is not None}
        endpoint.options = msgspec.structs.replace(endpoint.options, **changed)
    return _endpoint(endpoint)


async def delete_endpoint(call: Call) -> Any:
    """``DELETE /webhook_endpoints/{id}``: its subscriptions go with it."""
    registry = _registry(call)
    registry.delete_endpoint(registry.endpoint(call.id))
    return {"id": call.id}


async def create_subscription(call: Call) -> Any:
    """``POST /webhook_subscriptions``: the same endpoint and resource again changes the events."""
    registry = _registry(call)
    body = decode(_new_subscription, await call.request.body())
    endpoint = registry.endpoint(body.webhookEndpointId)
    check_resource(body.resourceType, body.resourceId)
    check_events(body.enabledEvents, SCOPED[endpoint.api_version][body.resourceType])
    subscription = Subscription(
        endpoint_id=endpoint.id,
        resource_type=body.resourceType,
        resource_id=body.resourceId,
        enabled_events=tuple(body.enabledEvents),
    )
    return _subscription(registry.subscribe(subscription))


async def list_subscriptions(call: Call) -> Any:
    """``GET /webhook_subscriptions``: in pages, by ``webhookEndpointId`` and ``resourceId`` if given."""
    params = call.request.query_params
    endpoint_id, resource_id = params.get("webhookEndpointId"), params.get("resourceId")
    found = [
        each
        for each in _registry(call).subscriptions.values()
        if endpoint_id in (None, each.endpoint_id) and resource_id in (None, each.resource_id)
    ]
    items, rest = _page(call, found)
    return {"object": "list", "data": [_subscription(each) for each in items], **rest}


async def get_subscription(call: Call) -> Any:
    """``GET /webhook_subscriptions/{id}``."""
    return _subscription(_registry(call).subscription(call.id))


async def update_subscription(call: Call) -> Any:
    """``POST /webhook_subscriptions/{id}``: only the events."""
    registry = _registry(call)
    subscription = registry.subscription(call.id)
    body = decode(_subscription_changes, await call.request.body())
    api_version = registry.endpoint(subscription.endpoint_id).api_version
    check_events(body.enabledEvents, SCOPED[api_version][subscription.resource_type])
    subscription.enabled_events = tuple(body.enabledEvents)
    return _subscription(subscription)


async def delete_subscription(call: Call) -> Any:
    """``DELETE /webhook_subscriptions/{id}``."""
    registry = _registry(call)
    del registry.subscriptions[registry.subscription(call.id).id]
    return {"id": call.id}


def payload_content(emulator: Emulator, request: Request) -> Response:
    """Return a payload that was sent as a URL if the address is valid; raises ApiError (403, 404)."""
    name = str(request.path_params["id"])
    check_query(name, request.query_params)
    content = emulator.webhooks.deliveries.payloads.get(name)
    return Response(content, media_type="application/json")


def _registry(call: Call) -> Registry:
    return call.emulator.webhooks.registry


def _page(call: Call, items: list[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the page that the query asks for, and the token of the next one."""
    settings, params = call.emulator.settings, dict(call.request.query_params)
    size, after = queries.page_size(params, settings), queries.page_position(params, settings)
    found = page(items, size, after, ascending=queries.ascending(params))
    return found.items, queries.next_page(params, found.next_position, settings)


def _checked_url(url: str) -> str:
    if not _URL.match(url):
        raise InvalidRequest("Invalid url", "url")
    return url


def _checked_name(name: str) -> str:
    if not name.strip():
        raise InvalidRequest("Must not be empty", "name")
    return name


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "object": "webhook_endpoint",
        "id": endpoint.id,
        "url": endpoint.url,
        "name": endpoint.name,
        "status": endpoint.status,
        "enabledEvents": endpoint.enabled_events,
        "apiVersion": endpoint.api_version,
        "advancedOptions": endpoint.options,
        "createdAt": iso(endpoint.created_at),
        "createdBy": None,
    }


def _subscription(subscription: Subscription) -> dict[str, Any]:
    return {
        "object": "webhook_subscription",
        "id": subscription.id,
        "webhookEndpointId": subscription.endpoint_id,
        "resourceType": subscription.resource_type,
        "resourceId": subscription.resource_id,
        "enabledEvents": subscription.enabled_events,
        "createdAt": iso(subscription.created_at),
    }
