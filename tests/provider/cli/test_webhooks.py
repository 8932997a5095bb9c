"""``airflow extend webhooks register``: repeated, interrupted, and how all the commands are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extend_provider.client.wire.webhooks import RUN_EVENTS
from extend_provider.webhooks.registration.labels import Label, fingerprint_of
from fixtures.extend.api import NEWEST, ExtendApi
from fixtures.webhooks.registered import (
    INBOX,
    INVOICES,
    TO,
    URL,
    Typed,
    endpoints,
    extra,
    in_a_process,
    make,
    refusal,
    secrets,
    subscriptions,
)


@pytest.mark.parametrize("api_version", ["2026-02-09", "2025-04-21"])
def test_register_creates_stores_and_may_be_repeated(
    extend_api: ExtendApi,
    stored_connection: str,
    set_extra: Callable[..., None],
    webhooks: Typed,
    api_version: str,
) -> None:
    set_extra(api_version=api_version, requests_per_second=50)
    for _ in range(2):
        code, said, complained = webhooks("register", *INVOICES, "--inbox", INBOX)
        assert (code, complained) == (0, "")
        (endpoint,) = endpoints(extend_api)
        assert (endpoint["url"], endpoint["status"], endpoint["apiVersion"]) == (URL, "enabled", api_version)
        assert subscriptions(extend_api) == [
            (endpoint["id"], "workflow_invoices", {*RUN_EVENTS[api_version]})
        ]
        (secret,) = secrets()
        assert secret.startswith("wss_")
        assert secret not in said
    assert extra() == {
        "api_version": api_version,
        "requests_per_second": 50,
        "webhook_secrets": secret,
        "webhook_inbox": INBOX,
    }


def test_register_subscribes_an_endpoint_to_further_workflows(extend_api: ExtendApi, webhooks: Typed) -> None:
    webhooks("register", *INVOICES)
    code, said, _ = webhooks("register", *INVOICES, "--workflow-id", "workflow_receipts")
    (endpoint,) = endpoints(extend_api)
    assert code == 0
    assert "subscribed to workflow workflow_receipts" in said
    assert "subscribed to workflow workflow_invoices" not in said
    assert [each[:2] for each in subscriptions(extend_api)] == [
        (endpoint["id"], "workflow_invoices"),
        (endpoint["id"], "workflow_receipts"),
    ]


def test_large_payloads_come_as_a_url_if_the_endpoint_says_so(extend_api: ExtendApi, webhooks: Typed) -> None:
    for threshold in (100, 200_000):
        assert webhooks("register", *INVOICES, "--url-threshold", str(threshold))[0] == 0
        (endpoint,) = endpoints(extend_api)
        assert endpoint["advancedOptions"]["payload"] == {"format": "url", "urlThresholdBytes": threshold}
    webhooks("register", *INVOICES)
    assert endpoints(extend_api) == [endpoint]


def test_register_keeps_events_that_somebody_has_added(extend_api: ExtendApi, webhooks: Typed) -> None:
    webhooks("register", *INVOICES)
    ((endpoint_id, _, _),) = subscriptions(extend_api)
    body = {
        "webhookEndpointId": endpoint_id,
        "resourceType": "workflow",
        "resourceId": "workflow_invoices",
        "enabledEvents": ["workflow_run.completed", "workflow_run.step_run.processed"],
    }
    assert extend_api.call("POST", "/webhook_subscriptions", json=body).ok
    assert webhooks("register", *INVOICES)[0] == 0
    ((_, _, events),) = subscriptions(extend_api)
    assert events == {*RUN_EVENTS[NEWEST], "workflow_run.step_run.processed"}


def test_an_unknown_workflow_stops_everything(extend_api: ExtendApi, webhooks: Typed) -> None:
    code, _, complained = webhooks("register", *INVOICES, "--workflow-id", "workflow_of_nobody")
    assert code == 1
    assert complained.startswith(f"Connection 'extend_stored', {URL}: ")
    assert "workflow_of_nobody" in complained
    assert (endpoints(extend_api), secrets()) == ([], [])


@pytest.mark.parametrize("stored", [True, False])
def test_what_an_interrupted_command_has_left_is_finished_or_removed(
    extend_api: ExtendApi, webhooks: Typed, set_extra: Callable[..., None], stored: bool
) -> None:
    left = make(extend_api, name=str(Label("extend_stored")), status="disabled")
    name = str(Label("extend_stored", fingerprint_of(left["signingSecret"])))
    assert extend_api.call("POST", f"/webhook_endpoints/{left['id']}", json={"name": name}).ok
    if stored:
        set_extra(webhook_secrets=left["signingSecret"])
    code, said, _ = webhooks("register", *INVOICES)
    assert code == 0
    (endpoint,) = endpoints(extend_api)
    assert (endpoint["id"] == left["id"]) is stored
    assert (endpoint["status"], "unfinished" in endpoint["name"]) == ("enabled", False)
    assert left["id"] in said
    assert len(secrets()) == 1


def test_a_secret_that_cannot_be_stored_leaves_nothing_behind(
    extend_api: ExtendApi, webhooks: Typed, readonly: Callable[[], None]
) -> None:
    readonly()
    code, said, complained = webhooks("register", *INVOICES, "--inbox", INBOX)
    assert code == 1
    assert "the database is read-only" in complained
    assert "was removed again, so nothing was changed at Extend" in complained
    assert (endpoints(extend_api), subscriptions(extend_api), extra()) == ([], [], {})
    assert "wss_" not in said + complained


#: Failures of each request that makes an endpoint.
FAULTS = [
    refusal("POST /webhook_endpoints"),
    {"endpoint": "POST /webhook_endpoints", "kind": "drop", "accepted": True, "count": 1},
    {"endpoint": "POST /webhook_endpoints", "kind": "malformed", "accepted": True, "count": 1},
    refusal("POST /webhook_subscriptions"),
    refusal("POST /webhook_subscriptions", skip=1),
    refusal("POST /webhook_endpoints/{id}"),
    refusal("POST /webhook_endpoints/{id}", skip=1),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_wherever_a_registration_fails_nothing_is_left_and_repeating_it_completes(
    extend_api: ExtendApi, webhooks: Typed, fault: dict[str, Any]
) -> None:
    extend_api.configure(faults=[fault])
    both = [*INVOICES, "--workflow-id", "workflow_receipts"]
    code, _, complained = webhooks("register", *both)
    assert code == 1
    assert "was changed at Extend" in complained
    assert (endpoints(extend_api), secrets()) == ([], [])
    assert webhooks("register", *both)[0] == 0
    (endpoint,) = endpoints(extend_api)
    (secret,) = secrets()
    assert endpoint["name"].endswith(fingerprint_of(secret))
    assert len(subscriptions(extend_api)) == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_wherever_a_rotation_fails_the_old_endpoint_is_untouched(
    extend_api: ExtendApi, webhooks: Typed, fault: dict[str, Any]
) -> None:
    webhooks("register", *INVOICES, "--workflow-id", "workflow_receipts")
    before, stored = endpoints(extend_api), secrets()
    extend_api.configure(faults=[fault])
    code, _, complained = webhooks("rotate", *TO)
    assert (code, "was changed at Extend" in complained) == (1, True)
    assert (endpoints(extend_api), secrets()) == (before, stored)
    assert webhooks("rotate", *TO)[0] == 0
    assert len(endpoints(extend_api)) == len(secrets()) == 2


def test_an_endpoint_that_cannot_be_removed_again_is_off_and_named(
    extend_api: ExtendApi, webhooks: Typed, readonly: Callable[[], None]
) -> None:
    readonly()
    extend_api.configure(faults=[refusal("DELETE /webhook_endpoints/{id}")])
    code, _, complained = webhooks("register", *INVOICES)
    assert code == 1
    assert "may be left at Extend, switched off. Repeat the command" in complained
    (endpoint,) = endpoints(extend_api)
    assert endpoint["status"] == "disabled"


def test_an_endpoint_whose_secret_nobody_has_is_not_replaced_behind_anybodys_back(
    extend_api: ExtendApi, webhooks: Typed, set_extra: Callable[..., None]
) -> None:
    webhooks("register", *INVOICES)
    set_extra(webhook_secrets=None)
    before = endpoints(extend_api)
    code, _, complained = webhooks("register", *INVOICES)
    assert code == 1
    assert "does not have its secret" in complained
    assert "rotate --finish" in complained
    assert endpoints(extend_api) == before
    assert webhooks("rotate", *TO)[0] == 0
    assert webhooks("rotate", *TO, "--finish")[0] == 0
    assert len(endpoints(extend_api)) == len(secrets()) == 1


def test_an_endpoint_that_was_made_by_hand_is_used_if_its_secret_may_be_there(
    extend_api: ExtendApi, webhooks: Typed, set_extra: Callable[..., None]
) -> None:
    made = make(extend_api)
    code, _, complained = webhooks("register", *INVOICES)
    assert (code, "does not have its secret" in complained) == (1, True)
    set_extra(webhook_secrets=made["signingSecret"])
    code, said, _ = webhooks("register", *INVOICES, "--inbox", INBOX)
    assert (code, "cannot be told" in said) == (0, True)
    assert [each[:2] for each in subscriptions(extend_api)] == [(made["id"], "workflow_invoices")]
    assert extra()["webhook_inbox"] == INBOX


def test_register_switches_an_endpoint_on_again(extend_api: ExtendApi, webhooks: Typed) -> None:
    webhooks("register", *INVOICES)
    (endpoint,) = endpoints(extend_api)
    extend_api.call("POST", f"/webhook_endpoints/{endpoint['id']}", json={"status": "disabled"})
    code, said, _ = webhooks("register", *INVOICES)
    assert (code, "was switched on" in said) == (0, True)
    assert endpoints(extend_api) == [endpoint]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["register", *TO], "--workflow-id"),
        (["register", "--url", "airflow.example.com", "--workflow-id", "w"], "not a URL"),
        (["register", *INVOICES, "--inbox", "acme-data/inbox"], "not an address"),
        (["rotate", *TO, "--finish", "--secret-file", "f"], "makes no secret"),
        (["remove"], "--endpoint-id"),
        (["remove", *TO, "--endpoint-id", "wh_1"], "--endpoint-id"),
    ],
)
def test_a_mistake_in_the_arguments_is_explained(typed: Typed, arguments: list[str], complaint: str) -> None:
    code, _, complained = typed(*arguments)
    assert code == 2
    assert complaint in complained


def test_airflow_finds_the_commands(extend_api: ExtendApi, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    done = in_a_process(
        *("register", *INVOICES, "--conn-id", "elsewhere", "--secret-file", str(file)),
        AIRFLOW_CONN_ELSEWHERE=extend_api.connection_json(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert file.read_text().strip() not in done.stdout + done.stderr
    assert len(endpoints(extend_api)) == 1
