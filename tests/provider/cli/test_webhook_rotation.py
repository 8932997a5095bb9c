"""``airflow extend webhooks rotate``, ``remove`` and ``list``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extend_provider.client.wire.webhooks import RUN_EVENTS
from extend_provider.webhooks.registration.labels import Label
from fixtures.extend.api import NEWEST, ExtendApi
from fixtures.webhooks.registered import (
    INBOX,
    INVOICES,
    TO,
    URL,
    Typed,
    endpoints,
    extra,
    make,
    refusal,
    secrets,
    subscriptions,
)


def test_while_a_secret_is_rotated_both_deliver(extend_api: ExtendApi, webhooks: Typed) -> None:
    webhooks("register", *INVOICES, "--workflow-id", "workflow_receipts")
    (first,) = secrets()
    assert webhooks("rotate", *TO)[0] == 0
    old, new = endpoints(extend_api)
    assert secrets()[0] == first
    assert len({*secrets()}) == 2
    assert (old["status"], new["status"], old["url"], new["url"]) == ("enabled", "enabled", URL, URL)
    by_endpoint = [(each[0], each[1]) for each in subscriptions(extend_api)]
    assert by_endpoint == [
        (each["id"], workflow)
        for each in (old, new)
        for workflow in ("workflow_invoices", "workflow_receipts")
    ]

    code, _, complained = webhooks("rotate", *TO)
    assert (code, "finish that rotation" in complained) == (1, True)
    assert len(endpoints(extend_api)) == 2

    # A workflow that is registered meanwhile is with both of them.
    webhooks("register", *TO, "--workflow-id", "workflow_mixed")
    assert webhooks("rotate", *TO, "--finish")[0] == 0
    assert endpoints(extend_api) == [new]
    assert [each[1] for each in subscriptions(extend_api)] == [
        "workflow_invoices",
        "workflow_receipts",
        "workflow_mixed",
    ]
    assert len(secrets()) == 1
    assert first not in secrets()
    code, said, _ = webhooks("rotate", *TO, "--finish")
    assert (code, "the only one" in said) == (0, True)
    assert endpoints(extend_api) == [new]


def test_what_the_old_endpoint_has_got_meanwhile_goes_to_the_new_one(
    extend_api: ExtendApi, webhooks: Typed
) -> None:
    webhooks("register", *INVOICES)
    webhooks("rotate", *TO)
    old, new = endpoints(extend_api)
    body = {
        "webhookEndpointId": old["id"],
        "resourceType": "workflow",
        "resourceId": "workflow_mixed",
        "enabledEvents": [*RUN_EVENTS[NEWEST]],
    }
    assert extend_api.call("POST", "/webhook_subscriptions", json=body).ok
    assert webhooks("rotate", *TO, "--finish")[0] == 0
    assert [each[:2] for each in subscriptions(extend_api)] == [
        (new["id"], "workflow_invoices"),
        (new["id"], "workflow_mixed"),
    ]


def test_rotation_takes_over_what_an_endpoint_of_somebodys_has(
    extend_api: ExtendApi, webhooks: Typed, set_extra: Callable[..., None]
) -> None:
    options = {"headers": {"x-tenant": "acme"}, "payload": {"format": "url", "urlThresholdBytes": 1000}}
    made = make(extend_api, enabledEvents=["extract_run.processed"], advancedOptions=options)
    set_extra(webhook_secrets=made["signingSecret"])
    webhooks("register", *INVOICES)
    assert webhooks("rotate", *TO)[0] == 0
    assert webhooks("rotate", *TO, "--finish")[0] == 0
    (endpoint,) = endpoints(extend_api)
    assert endpoint["id"] != made["id"]
    assert endpoint["enabledEvents"] == ["extract_run.processed"]
    assert endpoint["advancedOptions"] == options
    assert made["signingSecret"] not in secrets()
    assert len(secrets()) == 1


@pytest.mark.parametrize(("before", "after"), [(NEWEST, "2025-04-21"), ("2025-04-21", NEWEST)])
def test_rotation_moves_to_the_api_version_that_the_connection_has_now(
    extend_api: ExtendApi, webhooks: Typed, set_extra: Callable[..., None], before: str, after: str
) -> None:
    set_extra(api_version=before)
    webhooks("register", *INVOICES)
    set_extra(api_version=after)
    assert webhooks("rotate", *TO)[0] == 0
    assert webhooks("rotate", *TO, "--finish")[0] == 0
    (endpoint,) = endpoints(extend_api)
    assert endpoint["apiVersion"] == after
    assert subscriptions(extend_api) == [(endpoint["id"], "workflow_invoices", {*RUN_EVENTS[after]})]


def test_a_secret_that_cannot_be_taken_out_is_named(
    extend_api: ExtendApi, webhooks: Typed, readonly: Callable[[], None]
) -> None:
    webhooks("register", *INVOICES)
    readonly()
    code, _, complained = webhooks("remove", *TO)
    assert (code, endpoints(extend_api), len(secrets())) == (1, [], 1)
    assert "take number 1 of its 1 webhook_secrets out of connection 'extend_stored'" in complained


def test_a_secret_that_may_be_of_another_endpoint_stays(
    extend_api: ExtendApi, webhooks: Typed, set_extra: Callable[..., None]
) -> None:
    other = make(extend_api, url="https://elsewhere.example.com/")
    set_extra(webhook_secrets=other["signingSecret"])
    webhooks("register", *INVOICES)
    assert webhooks("remove", *TO)[0] == 0
    assert [each["id"] for each in endpoints(extend_api)] == [other["id"]]
    assert secrets() == [other["signingSecret"]]


def test_rotate_needs_an_endpoint(webhooks: Typed) -> None:
    for finish in ([], ["--finish"]):
        code, _, complained = webhooks("rotate", *TO, *finish)
        assert (code, "Nothing was changed" in complained) == (1, True)


def test_remove_takes_endpoint_subscriptions_and_secret(extend_api: ExtendApi, webhooks: Typed) -> None:
    webhooks("register", *INVOICES, "--inbox", INBOX)
    code, said, _ = webhooks("remove", *TO)
    assert code == 0
    assert (endpoints(extend_api), subscriptions(extend_api)) == ([], [])
    assert extra() == {"webhook_inbox": INBOX}
    assert "was removed: it delivers no more" in said
    code, said, _ = webhooks("remove", *TO)
    assert (code, "No endpoint" in said) == (0, True)


@pytest.mark.parametrize("endpoint", ["DELETE /webhook_endpoints/{id}", "DELETE /webhook_subscriptions/{id}"])
def test_a_removal_that_fails_is_repeated(extend_api: ExtendApi, webhooks: Typed, endpoint: str) -> None:
    webhooks("register", *INVOICES)
    extend_api.configure(faults=[refusal(endpoint)])
    code, _, complained = webhooks("remove", *TO)
    assert (code, len(endpoints(extend_api)), len(secrets())) == (1, 1, 1)
    assert "is still there, and its secret is still stored" in complained
    assert webhooks("remove", *TO)[0] == 0
    assert (endpoints(extend_api), subscriptions(extend_api), secrets()) == ([], [], [])


def test_remove_takes_one_endpoint_by_its_id(extend_api: ExtendApi, webhooks: Typed) -> None:
    webhooks("register", *INVOICES)
    webhooks("rotate", *TO)
    old, new = endpoints(extend_api)
    kept = secrets()[0]
    assert webhooks("remove", "--endpoint-id", new["id"])[0] == 0
    assert endpoints(extend_api) == [old]
    assert secrets() == [kept]


def test_list_shows_endpoints_subscriptions_and_whether_the_secret_is_there(
    extend_api: ExtendApi, webhooks: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    webhooks("register", *INVOICES)
    made = make(extend_api, url="https://user:pass@other.example.com/?token=t0ps3cret", status="disabled")
    body = {
        "webhookEndpointId": made["id"],
        "resourceType": "workflow",
        "resourceId": "workflow_mixed",
        "enabledEvents": sorted({*RUN_EVENTS[NEWEST]} - {"workflow_run.rejected"}),
    }
    assert extend_api.call("POST", "/webhook_subscriptions", json=body).ok
    make(extend_api, name=str(Label("extend_stored")), status="disabled")
    code, table, _ = webhooks("list")
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in table.splitlines()
        if line.startswith("│")
    ]
    assert code == 0
    assert [row[1:] for row in rows] == [
        [URL, "enabled", "2026-02-09", "workflow_invoices", "yes"],
        [
            "https://other.example.com/?***",
            "disabled",
            "2026-02-09",
            "workflow_mixed (without rejected)",
            "cannot be told",
        ],
        [URL, "unfinished: repeat the command", "2026-02-09", "nothing", "no"],
    ]
    assert extend_api.requests_to("POST /webhook_endpoints") == 3
