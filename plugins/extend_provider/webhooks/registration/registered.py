"""What Extend has of webhook endpoints, and what of it belongs to a connection."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from extend_provider.client.models import WebhookEndpoint, WebhookSubscription
from extend_provider.client.wire import DEFAULT_API_VERSION
from extend_provider.client.wire.webhooks import RUN_EVENTS
from extend_provider.hooks.extend import ExtendHook
from extend_provider.security import without_credentials
from extend_provider.webhooks.registration.labels import Label, fingerprint_of

#: The type of resource that events of runs belong to.
WORKFLOW: Final = "workflow"


@dataclasses.dataclass(frozen=True, slots=True)
class Registered:
    """An endpoint with its subscriptions.

    :param label: what its name says; None if a command of ours has not made it.
    :param is_held: whether the connection has its secret; None if that cannot be told.
    """

    endpoint: WebhookEndpoint
    subscriptions: tuple[WebhookSubscription, ...]
    label: Label | None
    is_held: bool | None

    @property
    def is_finished(self) -> bool:
        """Whether it was switched on, so that somebody may rely on it."""
        return self.label is None or self.label.finished

    @property
    def run_events(self) -> tuple[str, ...]:
        """The events of runs that it may be subscribed to."""
        return run_events(self.endpoint.api_version)

    def missing_events(self, resource_id: str, events: Iterable[str]) -> list[str]:
        """Return those of a resource's events that it does not get."""
        got = {
            event for each in self.subscriptions if each.resource_id == resource_id for event in each.events
        }
        return sorted(set(events) - got)


def registered_endpoints(hook: ExtendHook, secrets: Iterable[str]) -> list[Registered]:
    """Return all endpoints of a workspace, oldest first.

    :param secrets: those that the connection has.
    """
    subscriptions: defaultdict[str | None, list[WebhookSubscription]] = defaultdict(list)
    for page in hook.iter_webhook_subscription_pages():
        for subscription in page:
            subscriptions[subscription.endpoint_id].append(subscription)
    endpoints = [each for page in hook.iter_webhook_endpoint_pages() for each in page]
    held = {fingerprint_of(secret) for secret in secrets}
    found = []
    for endpoint in sorted(endpoints, key=lambda each: each.created_at or ""):
        label = Label.read(endpoint.name)
        is_held = None if label is None else label.fingerprint in held
        found.append(Registered(endpoint, tuple(subscriptions[endpoint.id]), label, is_held))
    return found


def run_events(api_version: str | None) -> tuple[str, ...]:
    """Return the events of runs that an endpoint of an API version may be subscribed to."""
    return RUN_EVENTS.get(api_version or "", RUN_EVENTS[DEFAULT_API_VERSION])


def wanted_subscriptions(workflow_ids: Iterable[str], events: tuple[str, ...]) -> list[WebhookSubscription]:
    """Return the subscriptions that workflows need, as if they existed."""
    return [WebhookSubscription("", None, WORKFLOW, each, events) for each in workflow_ids]


def carried_over(
    subscriptions: Iterable[WebhookSubscription], api_version: str | None
) -> list[WebhookSubscription]:
    """Return subscriptions for an endpoint that may be of another API version, which has other events."""
    known = {event for version in RUN_EVENTS for event in run_events(version)}
    carried = []
    for each in subscriptions:
        events = set(each.events)
        if each.resource_type == WORKFLOW:
            events = (events - known) | set(run_events(api_version))
        carried.append(dataclasses.replace(each, events=tuple(sorted(events))))
    return carried


def same_url(one: str, other: str) -> bool:
    """Return whether two URLs lead to the same receiver."""
    return one.rstrip("/") == other.rstrip("/")


def shown(url: str) -> str:
    """Return a URL without what may be a credential in it."""
    return without_credentials(url)
