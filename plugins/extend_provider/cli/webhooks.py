"""``airflow extend webhooks …``: where Extend delivers the events of a connection's workflows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

from extend_provider.cli.options import (
    conn_id_option,
    option,
    read_connections_of_the_database,
    refuse,
)

if TYPE_CHECKING:
    from rich.table import Table

    from extend_provider.webhooks.registration.actions import Registration
    from extend_provider.webhooks.registration.registered import Registered

REGISTER = """Has Extend deliver the events of workflows to a URL.

  airflow extend webhooks register --url https://airflow.example.com/extend/webhooks/extend_default \\
    --workflow-id workflow_invoices --inbox s3://aws_default@acme-data/extend/inbox

Creates an endpoint in the API version of the connection, and a subscription for each workflow. The secret,
which Extend shows once, is stored in the connection (webhook_secrets) if Airflow's database has it, and
--inbox with it. Otherwise --secret-file says where to write it. It is not printed. The command may be
repeated, also with further workflows: an endpoint that a URL has already is used."""

ROTATE = """Replaces the secret of a URL, in two steps, without losing an event.

  airflow extend webhooks rotate --url URL           a second endpoint, with a new secret, beside the first
  airflow extend webhooks rotate --url URL --finish  removes the older endpoint, and its secret

In between each event is delivered by both endpoints, and counted once. Finish when events of the new endpoint
have arrived and, if a queue carries them, when the queue is empty."""

REMOVE = """Removes endpoints, their subscriptions, and their secrets from the connection.

Batches that are at work then complete by polling. Take webhook_inbox out of the connection too if no endpoint
is to come back."""


def command() -> GroupCommand:
    """Return the group of commands."""
    workflows = option(
        "--workflow-id",
        action="append",
        required=True,
        help="Events of this workflow's runs; may be repeated",
    )
    inbox = option("--inbox", type=_inbox, help="Store this as webhook_inbox of the connection")
    url_threshold = option(
        "--url-threshold",
        type=int,
        help="Payloads of more bytes come as a URL, e.g. where a queue has a limit",
    )
    secret_file = option(
        "--secret-file", type=Path, help="Write the secret to this new file, which only you may read"
    )
    finish = option("--finish", action="store_true", help="Remove the older endpoint")
    endpoint_id = option("--endpoint-id", help="The endpoint with this id")
    subcommands = (
        _action(
            "register",
            "Have Extend deliver events to a URL",
            REGISTER,
            (workflows, inbox, secret_file, url_threshold),
        ),
        _action("rotate", "Replace the secret of a URL", ROTATE, (secret_file, finish)),
        _action("remove", "Remove endpoints", REMOVE, (endpoint_id,), url_required=False),
        _action("list", "Show endpoints and subscriptions", None, (), url_required=None),
    )
    return GroupCommand(name="webhooks", help="Events that Extend delivers", subcommands=subcommands)


def _action(
    name: str,
    summary: str,
    description: str | None,
    options: Iterable[Arg],
    *,
    url_required: bool | None = True,
) -> ActionCommand:
    """Return a command; ``url_required`` is None for one that takes no URL."""
    url = option("--url", required=url_required is True, type=_url, help="Where events are delivered")
    return ActionCommand(
        name=name,
        help=summary,
        description=description or summary,
        func=lazy_load_command(f"extend_provider.cli.webhooks.{name}_endpoints"),
        args=(conn_id_option(), *(() if url_required is None else (url,)), *options),
    )


def register_endpoints(options: argparse.Namespace) -> None:
    """Register a URL."""
    if options.url.startswith("http:"):
        _say("The URL is http: whoever is on the way can read the results. Use https outside of tests.")
    _run(
        options,
        lambda registration: registration.register(
            options.url, options.workflow_id, url_threshold=options.url_threshold
        ),
    )


def rotate_endpoints(options: argparse.Namespace) -> None:
    """Begin a rotation, or finish it."""
    if options.finish and options.secret_file:
        refuse("webhooks rotate", "--finish makes no secret, so it takes no --secret-file")
    _run(
        options,
        lambda registration: (
            registration.finish_rotation(options.url) if options.finish else registration.rotate(options.url)
        ),
    )


def remove_endpoints(options: argparse.Namespace) -> None:
    """Remove endpoints."""
    if bool(options.url) == bool(options.endpoint_id):
        refuse("webhooks remove", "give either --url or --endpoint-id")
    _run(
        options,
        lambda registration: registration.remove(url=options.url, endpoint_id=options.endpoint_id),
    )


def list_endpoints(options: argparse.Namespace) -> None:
    """Print a table of the workspace's endpoints."""
    from rich.console import Console

    def show(registration: Registration) -> None:
        Console().print(_table(registration.overview(), options.conn_id))

    _run(options, show)


def _run(options: argparse.Namespace, work: Callable[[Registration], None]) -> None:
    """Do some work with the connection's registration; exit with 1 if it fails."""
    from extend_provider.hooks.extend import ExtendHook
    from extend_provider.security import describe_error, without_credentials
    from extend_provider.webhooks.registration.actions import Registration
    from extend_provider.webhooks.registration.secret_keeper import Origin, SecretKeeper

    read_connections_of_the_database()
    try:
        with ExtendHook(extend_conn_id=options.conn_id) as hook:
            keeper = SecretKeeper(
                options.conn_id,
                Origin.of(options.conn_id),
                getattr(options, "secret_file", None),
                getattr(options, "inbox", None),
            )
            work(Registration(hook, keeper, _say))
    except Exception as error:  # noqa: BLE001  # of Extend, of Airflow's database, of a secrets backend
        url = getattr(options, "url", None)
        about = f", {without_credentials(url)}" if url else ""
        sys.stderr.write(f"Connection {options.conn_id!r}{about}: {describe_error(error)}\n")
        sys.exit(1)


def _say(sentence: str) -> None:
    from rich.console import Console

    Console().print(sentence, highlight=False, soft_wrap=True, markup=False)


def _table(registered: Iterable[Registered], conn_id: str) -> Table:
    from rich.table import Table

    from extend_provider.webhooks.registration.registered import shown

    table = Table(title=f"Webhook endpoints of {conn_id}")
    for name in ("endpoint", "delivers to", "status", "API version", "subscribed to", "secret in connection"):
        table.add_column(name, overflow="fold")
    for each in registered:
        endpoint = each.endpoint
        status = endpoint.status if each.is_finished else "unfinished: repeat the command"
        table.add_row(
            endpoint.id,
            shown(endpoint.url),
            status,
            endpoint.api_version,
            "\n".join(_subscriptions(each)) or "nothing",
            {True: "yes", False: "no", None: "cannot be told"}[each.is_held],
        )
    return table


def _subscriptions(registered: Registered) -> Iterable[str]:
    for each in registered.subscriptions:
        resource = each.resource_id or ""
        wanted = registered.run_events if each.resource_type == "workflow" else ()
        missing = registered.missing_events(resource, wanted)
        without = ", ".join(event.partition(".")[2] for event in missing)
        yield f"{resource} (without {without})" if without else resource


def _url(text: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        is_url = parts.scheme in {"http", "https"} and parts.hostname and not parts.fragment
    except ValueError:
        is_url = False
    if not is_url or any(character.isspace() for character in text):
        raise argparse.ArgumentTypeError("not a URL like https://airflow.example.com/extend/webhooks/…")
    return text


def _inbox(text: str) -> str:
    from extend_provider.client.webhook_settings import webhook_inbox
    from extend_provider.exceptions import ExtendInputError

    try:
        address = webhook_inbox("", text)
    except ExtendInputError:
        address = None
    if address is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an address like s3://aws_default@bucket/extend/inbox"
        )
    return address
