"""Endpoints and subscriptions at Extend: registered, listed, rotated and removed, each of them repeatable.

A registration is interrupted without harm at any point, because an endpoint is switched on last: it is
created disabled and called unfinished, subscribed, and its secret stored before it delivers anything. What an
interrupted command has left is recognised by its name
(:mod:`~extend_provider.webhooks.registration.labels`). The next command finishes it if its secret was stored,
and removes it otherwise.

Extend has no rotation of a secret. So a second endpoint with the same URL takes over: while both are there,
each event is delivered by both, and the inbox counts it once.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from extend_provider.client.models import WebhookEndpoint, WebhookSubscription
from extend_provider.exceptions import ExtendError, ExtendNotFoundError
from extend_provider.hooks.extend import ExtendHook
from extend_provider.security import describe_error
from extend_provider.webhooks.registration.labels import Label, fingerprint_of
from extend_provider.webhooks.registration.registered import (
    WORKFLOW,
    Registered,
    carried_over,
    registered_endpoints,
    run_events,
    same_url,
    shown,
    wanted_subscriptions,
)
from extend_provider.webhooks.registration.secret_keeper import SecretKeeper

ENABLED: Final = "enabled"
DISABLED: Final = "disabled"


class WebhookRegistrationError(ExtendError):
    """A command could not do all of its work; the message says what became of the endpoints at Extend."""


class Registration:
    """The webhooks of a connection's workspace.

    Every method raises :class:`WebhookRegistrationError` or another
    :class:`~extend_provider.exceptions.ExtendError`.

    :param keeper: where secrets go.
    :param say: told, in a sentence each, what was done.
    """

    def __init__(self, hook: ExtendHook, keeper: SecretKeeper, say: Callable[[str], None]) -> None:
        self._hook = hook
        self._keeper = keeper
        self._say = say
        self._secrets: list[str] = list(hook.settings.webhook_secrets)

    # ------------------------------------------------------------------ what there is

    def overview(self) -> list[Registered]:
        """Return all endpoints of the workspace, oldest first."""
        return registered_endpoints(self._hook, self._secrets)

    def _at(self, url: str) -> list[Registered]:
        """Return the endpoints with a URL, after what an interrupted command has left of them is settled."""
        found = [each for each in self.overview() if same_url(each.endpoint.url, url)]
        settled = []
        for each in found:
            if each.is_finished:
                settled.append(each)
            elif each.is_held:
                settled.append(self._switch_on(each))
            else:
                self._delete(each)
                self._say(f"Endpoint {each.endpoint.id}, left of an interrupted command, was removed.")
        return settled

    # ------------------------------------------------------------------ register

    def register(self, url: str, workflow_ids: Sequence[str], *, url_threshold: int | None = None) -> None:
        """See to it that a URL gets the events of these workflows' runs.

        :param url_threshold: payloads of more bytes come as a URL; None leaves that as it is.
        """
        options = {} if url_threshold is None else {"payload": _payload_options(url_threshold)}
        for workflow_id in workflow_ids:
            self._hook.check_workflow(workflow_id)
        found = self._at(url)
        if not found:
            self._create(
                url, wanted_subscriptions(workflow_ids, run_events(self._hook.api_version)), options=options
            )
        else:
            self._check_secrets(found, url)
            for each in found:
                if each.endpoint.status == DISABLED:
                    self._switch_on(each)
                self._subscribe(each, wanted_subscriptions(workflow_ids, each.run_events))
                if options:
                    kept = {name: value for name, value in each.endpoint.options.items() if value}
                    self._hook.update_webhook_endpoint(each.endpoint.id, options={**kept, **options})
            self._set_inbox()
        if not (self._keeper.inbox or self._hook.settings.webhook_inbox):
            self._say(
                f"Connection {self._keeper.conn_id!r} has no webhook_inbox: results are polled for until it "
                "has one (--inbox)."
            )

    def _check_secrets(self, found: Sequence[Registered], url: str) -> None:
        """Refuse to go on with endpoints of which no secret is known to be in the connection."""
        if any(each.is_held for each in found):
            return
        ids = ", ".join(each.endpoint.id for each in found)
        conn_id = self._keeper.conn_id
        if self._secrets and any(each.is_held is None for each in found):
            self._say(
                f"Endpoint {ids} was not made by this command, so it cannot be told whether its secret is "
                f"among those of connection {conn_id!r}."
            )
            return
        raise WebhookRegistrationError(
            f"Endpoint {ids} delivers to {shown(url)} already, and connection {conn_id!r} does not have its "
            "secret, which Extend shows once. If somebody has it, put it into webhook_secrets of the "
            "connection. If it is lost, replace the endpoint: airflow extend webhooks rotate, and later "
            "rotate --finish. Nothing was changed."
        )

    def _subscribe(self, registered: Registered, wanted: Iterable[WebhookSubscription]) -> None:
        for each in wanted:
            missing = registered.missing_events(each.resource_id or "", each.events)
            if missing:
                self._subscribe_to(registered.endpoint.id, each, kept=registered.subscriptions)

    def _subscribe_to(
        self, endpoint_id: str, wanted: WebhookSubscription, kept: Iterable[WebhookSubscription] = ()
    ) -> None:
        had = {event for each in kept if each.resource_id == wanted.resource_id for event in each.events}
        resource_id, resource_type = wanted.resource_id or "", wanted.resource_type or WORKFLOW
        events = sorted(had | set(wanted.events))
        self._hook.create_webhook_subscription(endpoint_id, resource_id, events, resource_type=resource_type)
        self._say(f"Endpoint {endpoint_id} is subscribed to {resource_type} {resource_id}.")

    # ------------------------------------------------------------------ an endpoint begins and ends

    def _create(
        self,
        url: str,
        wanted: Iterable[WebhookSubscription],
        *,
        events: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        try:
            with self._keeper.ready() as keep:
                endpoint = self._hook.create_webhook_endpoint(
                    url, str(Label(self._keeper.conn_id)), status=DISABLED, events=events, options=options
                )
                self._complete(endpoint, wanted, keep)
        except Exception as error:  # noqa: BLE001  # of Extend, of Airflow's database, of a disk
            raise WebhookRegistrationError(f"{describe_error(error)} {self._undone(url)}") from None

    def _complete(
        self,
        endpoint: WebhookEndpoint,
        wanted: Iterable[WebhookSubscription],
        keep: Callable[[str], None],
    ) -> None:
        """Subscribe a new endpoint, keep its secret, and switch it on."""
        secret = endpoint.signing_secret
        if secret is None:
            raise WebhookRegistrationError("Extend has sent no secret for the new endpoint.")
        for each in wanted:
            self._subscribe_to(endpoint.id, each)
        label = Label(self._keeper.conn_id, fingerprint_of(secret))
        self._hook.update_webhook_endpoint(endpoint.id, name=str(label))
        keep(secret)
        # Only now: an event whose secret nobody has would be refused.
        name = str(dataclasses.replace(label, finished=True))
        self._hook.update_webhook_endpoint(endpoint.id, name=name, status=ENABLED)
        self._secrets.append(secret)
        self._say(
            f"Endpoint {endpoint.id} delivers to {shown(endpoint.url)}, in API version "
            f"{self._hook.api_version}. "
            f"{self._where_kept()}"
        )

    def _where_kept(self) -> str:
        keeper = self._keeper
        said = []
        if keeper.origin.is_database:
            said.append(f"Its secret is in connection {keeper.conn_id!r}.")
        if keeper.file is not None:
            said.append(f"Its secret is in {keeper.file}, which only you may read.")
        if not keeper.origin.is_database:
            said.append(
                f"Connection {keeper.conn_id!r} comes from {keeper.origin.name}: add the secret to its "
                "webhook_secrets there"
                + (f", and set its webhook_inbox to {keeper.inbox}." if keeper.inbox else ".")
            )
        return " ".join(said)

    def _set_inbox(self) -> None:
        if not self._keeper.set_inbox():
            self._say(
                f"Connection {self._keeper.conn_id!r} comes from {self._keeper.origin.name}: set its "
                f"webhook_inbox to {self._keeper.inbox} there."
            )

    def _switch_on(self, registered: Registered) -> Registered:
        """Switch an endpoint on, and have its name say that it is finished."""
        endpoint, label = registered.endpoint, registered.label
        name = None if label is None else str(dataclasses.replace(label, finished=True))
        changed = self._hook.update_webhook_endpoint(endpoint.id, name=name, status=ENABLED)
        self._say(f"Endpoint {endpoint.id} was switched on.")
        return dataclasses.replace(registered, endpoint=changed, label=Label.read(changed.name))

    def _undone(self, url: str) -> str:
        """Remove what a failed creation has left, and return a sentence about it."""
        try:
            left = [
                each for each in self.overview() if not each.is_finished and same_url(each.endpoint.url, url)
            ]
            for each in left:
                self._delete(each)
        except ExtendError as error:
            return (
                f"An endpoint for {shown(url)} may be left at Extend, switched off. Repeat the command: it "
                f"removes that one first. (It could not be removed now: {error})"
            )
        removed = ", ".join(each.endpoint.id for each in left)
        gone = f"Endpoint {removed} was removed again, so nothing" if removed else "Nothing"
        return f"{gone} was changed at Extend."

    def _delete(self, registered: Registered) -> None:
        """Delete an endpoint with its subscriptions; what is gone already is no error."""
        for subscription in registered.subscriptions:
            with contextlib.suppress(ExtendNotFoundError):
                self._hook.delete_webhook_subscription(subscription.id)
        with contextlib.suppress(ExtendNotFoundError):
            self._hook.delete_webhook_endpoint(registered.endpoint.id)

    # ------------------------------------------------------------------ rotate, remove

    def rotate(self, url: str) -> None:
        """Put a second endpoint, with a new secret, beside the one that a URL has."""
        found = self._at(url)
        if not found:
            raise WebhookRegistrationError(
                f"No endpoint delivers to {shown(url)}: register it first. Nothing was changed."
            )
        *_, newest = found
        if len(found) > 1:
            raise WebhookRegistrationError(
                f"{len(found)} endpoints deliver to {shown(url)} already, {newest.endpoint.id} being the "
                "newest: finish that rotation with --finish. Nothing was changed."
            )
        self._create(
            url,
            carried_over(newest.subscriptions, self._hook.api_version),
            events=newest.endpoint.events,
            options=newest.endpoint.options,
        )
        self._say(
            f"Endpoint {newest.endpoint.id} goes on delivering, so both secrets are needed. When events of "
            f"the new one have arrived: airflow extend webhooks rotate --conn-id {self._keeper.conn_id} "
            f"--url {shown(url)} --finish"
        )

    def finish_rotation(self, url: str) -> None:
        """Remove the older endpoints of a URL, and their secrets from the connection."""
        found = self._at(url)
        if not found:
            raise WebhookRegistrationError(f"No endpoint delivers to {shown(url)}. Nothing was changed.")
        *old, newest = found
        if not newest.is_held:
            raise WebhookRegistrationError(
                f"Connection {self._keeper.conn_id!r} does not have the secret of {newest.endpoint.id}, the "
                f"newest endpoint of {shown(url)}: without the older ones, no event would be accepted. Put "
                "it into webhook_secrets first. Nothing was changed."
            )
        if not old:
            self._say(
                f"Endpoint {newest.endpoint.id} is the only one of {shown(url)}: nothing is to be done."
            )
            return
        if newest.endpoint.status == DISABLED:
            self._switch_on(newest)
        for each in old:
            self._subscribe(newest, carried_over(each.subscriptions, newest.endpoint.api_version))
        self._remove(old)

    def remove(self, *, url: str | None = None, endpoint_id: str | None = None) -> None:
        """Remove the endpoints with a URL, or one by its id, and their secrets from the connection."""
        found = [
            each
            for each in self.overview()
            if each.endpoint.id == endpoint_id or (url is not None and same_url(each.endpoint.url, url))
        ]
        if not found:
            self._say(f"No endpoint {f'for {shown(url)}' if url else endpoint_id} is there.")
        self._remove(found)

    def _remove(self, registered: Sequence[Registered]) -> None:
        for each in registered:
            try:
                self._delete(each)
            except ExtendError as error:
                raise WebhookRegistrationError(
                    f"{error} So endpoint {each.endpoint.id} is still there, and its secret is still stored; "
                    "subscriptions of it may be gone. Repeat the command."
                ) from None
            self._say(
                f"Endpoint {each.endpoint.id} was removed: it delivers no more to {shown(each.endpoint.url)}."
            )
        self._drop_secrets(self._unneeded_secrets(registered))

    def _drop_secrets(self, secrets: Sequence[str]) -> None:
        if not secrets:
            return
        keeper, count = self._keeper, len(self._secrets)
        places = " and ".join(f"number {self._secrets.index(each) + 1}" for each in secrets)
        by_hand = f"take {places} of its {count} webhook_secrets out of connection {keeper.conn_id!r}"
        try:
            done = keeper.drop(secrets)
        except Exception as error:  # noqa: BLE001  # of Airflow's database
            raise WebhookRegistrationError(
                f"What was removed is gone at Extend, but not its secret: {describe_error(error)}. "
                f"It does no harm; {by_hand} when that is possible."
            ) from None
        if done:
            self._say(f"Connection {keeper.conn_id!r} has {count - len(secrets)} of {count} secrets left.")
        else:
            self._say(f"Now {by_hand}, which comes from {keeper.origin.name}.")

    def _unneeded_secrets(self, removed: Collection[Registered]) -> list[str]:
        """Return the secrets of the connection that no endpoint needs any more."""
        left = self.overview()
        gone = {each.label.fingerprint for each in removed if each.label}
        # A secret without an endpoint of ours may be that of an endpoint which somebody has made otherwise.
        others_gone = any(each.label is None for each in removed) and all(each.label for each in left)
        needed = {each.label.fingerprint for each in left if each.label}
        return [
            secret
            for secret in self._secrets
            if fingerprint_of(secret) in gone or (others_gone and fingerprint_of(secret) not in needed)
        ]


def _payload_options(url_threshold: int) -> dict[str, Any]:
    return {"format": "url", "urlThresholdBytes": url_threshold}
