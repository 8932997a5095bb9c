"""The endpoints and subscriptions of the workspace."""

from __future__ import annotations

import dataclasses
import itertools
import secrets
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Protocol, TypeVar

import msgspec

from sandbox.extend_api.errors import not_found
from sandbox.extend_api.state.model import new_id, now_ms
from sandbox.extend_api.state.store import Page
from sandbox.extend_api.webhooks.events import ResourceType

EndpointStatus = Literal["enabled", "disabled"]


class PayloadOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How payloads are delivered: in the request, or as a signed URL above a size.

    :param urlThresholdBytes: with ``url``, payloads that are larger are sent as a URL; None: all of them.
    """

    format: Literal["json", "url"]
    urlThresholdBytes: Annotated[int, msgspec.Meta(ge=0)] | None = None  # noqa: N815 - the wire's name


class AdvancedOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Further headers of each delivery, and the form of its payload."""

    headers: dict[str, str] | None = None
    payload: PayloadOptions | None = None


@dataclasses.dataclass(slots=True, kw_only=True)
class Endpoint:
    """An address that receives events in one API version.

    :param secret: signs the deliveries; an answer has it only when the endpoint is created.
    :param served_at: base URL of the emulator, for payloads that are sent as a URL.
    """

    url: str
    name: str
    api_version: str
    enabled_events: tuple[str, ...]
    served_at: str
    status: EndpointStatus = "enabled"
    options: AdvancedOptions = dataclasses.field(default_factory=AdvancedOptions)
    id: str = dataclasses.field(default_factory=lambda: new_id("wh"))
    secret: str = dataclasses.field(default_factory=lambda: f"wss_{secrets.token_hex(16)}", repr=False)
    created_at: int = dataclasses.field(default_factory=now_ms)
    seq: int = 0


@dataclasses.dataclass(slots=True, kw_only=True)
class Subscription:
    """The events of one resource that an endpoint receives."""

    endpoint_id: str
    resource_type: ResourceType
    resource_id: str
    enabled_events: tuple[str, ...]
    id: str = dataclasses.field(default_factory=lambda: new_id("whes"))
    created_at: int = dataclasses.field(default_factory=now_ms)
    seq: int = 0


class Registry:
    """The endpoints and subscriptions, by id."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self._sequence = itertools.count(1)

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Add an endpoint."""
        endpoint.seq = next(self._sequence)
        self.endpoints[endpoint.id] = endpoint

    def endpoint(self, endpoint_id: str) -> Endpoint:
        """Return an endpoint; raises ApiError (404)."""
        if (found := self.endpoints.get(endpoint_id)) is None:
            raise not_found("Webhook endpoint", endpoint_id)
        return found

    def delete_endpoint(self, endpoint: Endpoint) -> None:
        """Remove an endpoint and its subscriptions."""
        del self.endpoints[endpoint.id]
        for subscription in [each for each in self.subscriptions.values() if each.endpoint_id == endpoint.id]:
            del self.subscriptions[subscription.id]

    def subscribe(self, subscription: Subscription) -> Subscription:
        """Add a subscription. An endpoint has one for a resource: the same again changes its events."""
        for known in self.subscriptions.values():
            if (known.endpoint_id, known.resource_type, known.resource_id) == (
                subscription.endpoint_id,
                subscription.resource_type,
                subscription.resource_id,
            ):
                known.enabled_events = subscription.enabled_events
                return known
        subscription.seq = next(self._sequence)
        self.subscriptions[subscription.id] = subscription
        return subscription

    def subscription(self, subscription_id: str) -> Subscription:
        """Return a subscription; raises ApiError (404)."""
        if (found := self.subscriptions.get(subscription_id)) is None:
            raise not_found("Webhook subscription", subscription_id)
        return found

    def listeners(self, workflow_id: str, event_type: str) -> list[Endpoint]:
        """Return the enabled endpoints that have subscribed to this event of this workflow."""
        endpoints = [
            self.endpoints[each.endpoint_id]
            for each in self.subscriptions.values()
            if (each.resource_type, each.resource_id) == ("workflow", workflow_id)
            and event_type in each.enabled_events
        ]
        return [endpoint for endpoint in endpoints if endpoint.status == "enabled"]


class _Numbered(Protocol):
    seq: int


Item = TypeVar("Item", bound=_Numbered)


def page(items: Iterable[Item], size: int, after: int | None, *, ascending: bool) -> Page[Item]:
    """Return up to ``size`` items after the position ``after``, a ``seq``."""
    ordered: Sequence[Item] = sorted(items, key=lambda item: item.seq, reverse=not ascending)
    if after is not None:
        ordered = [item for item in ordered if (item.seq > after if ascending else item.seq < after)]
    found = list(ordered[:size])
    return Page(found, found[-1].seq if len(ordered) > size else None)
