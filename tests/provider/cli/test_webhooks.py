"""``airflow extend webhooks``: each command, repeated, interrupted, and with a connection from anywhere."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from extend_provider.client.wire.webhooks import RUN_EVENTS
from extend_provider.webhooks.registration.labels import Label, fingerprint_of
from fixtures.extend.api import NEWEST, ExtendApi
from fixtures.tasks.extend_command import extend_command

URL = "https://airflow.example.com/extend/webhooks/extend_stored"
INBOX = "s3://aws_default@acme-data/extend/inbox"
TO = ["--url", URL]
INVOICES = [*TO, "--workflow-id", "workflow_invoices"]
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Return what runs ``airflow extend webhooks …`` and returns its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = extend_command("webhooks", *arguments)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def webhooks(stored_connection: str, typed: Typed) -> Typed:
    """Return the same, with a connection that Airflow's database has."""
    return lambda command, *arguments: typed(command, "--conn-id", stored_connection, *arguments)


@pytest.fixture
def readonly(stored_connection: str) -> Iterator[Callable[[], None]]:
    """Yield what makes Airflow's database refuse to change a connection."""
    from airflow.utils.session import create_session
    from sqlalchemy import text

    def refuse_updates() -> None:
        with create_session() as session:
            session.execute(
                text(
                    "CREATE TRIGGER readonly BEFORE UPDATE ON connection "
                    "BEGIN SELECT RAISE(ABORT, 'the database is read-only'); END"
                )
            )

    yield refuse_updates
    with create_session() as session:
        session.execute(text("DROP TRIGGER IF EXISTS readonly"))


def extra(conn_id: str = "extend_stored") -> dict[str, Any]:
    """Return the connection's extra as the database has it."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        stored = session.query(Connection).filter(Connection.conn_id == conn_id).one()
        return dict(json.loads(stored.extra or "{}"))


def secrets() -> list[str]:
    found = extra().get("webhook_secrets", "")
    return [each for each in found.split(", ") if each]


def endpoints(extend_api: ExtendApi) -> list[dict[str, Any]]:
    return list(extend_api.call("GET", "/webhook_endpoints", params={"sortDir": "asc"}).json()["data"])


def subscriptions(extend_api: ExtendApi) -> list[tuple[str, str, set[str]]]:
    listed = extend_api.call("GET", "/webhook_subscriptions", params={"sortDir": "asc"}).json()["data"]
    return [(each["webhookEndpointId"], each["resourceId"], {*each["enabledEvents"]}) for each in listed]


def make(extend_api: ExtendApi, **fields: Any) -> dict[str, Any]:
    """Make an endpoint as somebody does who has no command of ours."""
    body = {"url": URL, "name": "by hand", "enabledEvents": [], "apiVersion": "2026-02-09", **fields}
    answer = extend_api.call("POST", "/webhook_endpoints", json=body)
    assert answer.ok, answer.text
    return dict(answer.json())


def refusal(endpoint: str, *, skip: int = 0) -> dict[str, Any]:
    """Return a fault that refuses one request to an endpoint, after ``skip`` others."""
    return {"endpoint": endpoint, "kind": "error", "status": 403, "count": 1, "skip": skip}


# ---------------------------------------------------------------- register


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


# ---------------------------------------------------------------- connections from elsewhere


@pytest.fixture
def elsewhere(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch, typed: Typed) -> Typed:
    """Return what runs the commands with a connection that the environment has."""
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_ELSEWHERE", extend_api.connection_json())
    return lambda command, *arguments: typed(command, "--conn-id", "extend_elsewhere", *arguments)


def test_without_a_place_for_the_secret_nothing_is_created(extend_api: ExtendApi, elsewhere: Typed) -> None:
    code, _, complained = elsewhere("register", *INVOICES)
    assert code == 1
    assert "comes from the environment (AIRFLOW_CONN_EXTEND_ELSEWHERE)" in complained
    assert "--secret-file PATH" in complained
    assert extend_api.requests_to("POST /webhook_endpoints") == 0


def test_a_secrets_backend_is_named(extend_api: ExtendApi, tmp_path: Path) -> None:
    """In a process of its own, because Airflow keeps its backends."""
    file = tmp_path / "connections.json"
    file.write_text(json.dumps({"of_backend": json.loads(extend_api.connection_json())}))
    done = in_a_process(
        *("register", *INVOICES, "--conn-id", "of_backend"),
        AIRFLOW__SECRETS__BACKEND="airflow.secrets.local_filesystem.LocalFilesystemBackend",
        AIRFLOW__SECRETS__BACKEND_KWARGS=json.dumps({"connections_file_path": str(file)}),
    )
    assert done.returncode == 1
    assert "comes from the secrets backend LocalFilesystemBackend" in done.stderr
    assert endpoints(extend_api) == []


def test_the_secret_goes_into_a_file_that_only_its_owner_may_read(
    extend_api: ExtendApi, elsewhere: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    before = os.umask(0)
    try:
        code, said, complained = elsewhere(
            "register", *INVOICES, "--inbox", INBOX, "--secret-file", str(file)
        )
    finally:
        os.umask(before)
    assert (code, complained) == (0, "")
    secret = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (endpoint,) = endpoints(extend_api)
    assert endpoint["status"] == "enabled"
    assert endpoint["name"] == f"Airflow extend_elsewhere, secret {fingerprint_of(secret)}"
    assert "add the secret to its webhook_secrets there" in said
    assert f"set its webhook_inbox to {INBOX}" in said
    assert secret not in said

    # Where somebody has put it into the connection, the command finds all done.
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_ELSEWHERE", extend_api.connection_json(webhook_secrets=secret))
    code, said, _ = elsewhere("register", *INVOICES, "--inbox", INBOX, "--secret-file", str(file))
    assert (code, endpoints(extend_api)) == (0, [endpoint])
    assert "set its webhook_inbox" in said


@pytest.mark.parametrize("name", ["there", "no/folder"])
def test_a_file_that_cannot_be_made_leaves_no_endpoint(
    extend_api: ExtendApi, elsewhere: Typed, tmp_path: Path, name: str
) -> None:
    (tmp_path / "there").write_text("an older secret")
    code, _, complained = elsewhere("register", *INVOICES, "--secret-file", str(tmp_path / name))
    assert code == 1
    assert "Nothing was changed at Extend" in complained
    assert extend_api.requests_to("POST /webhook_endpoints") == 0
    assert (tmp_path / "there").read_text() == "an older secret"


def test_a_refusal_of_extends_leaves_no_file(extend_api: ExtendApi, elsewhere: Typed, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    extend_api.configure(faults=[refusal("POST /webhook_endpoints")])
    code, _, _ = elsewhere("register", *INVOICES, "--secret-file", str(file))
    assert (code, file.exists(), endpoints(extend_api)) == (1, False, [])


def test_by_hand_the_older_secret_is_named_by_its_place(
    extend_api: ExtendApi, elsewhere: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    elsewhere("register", *INVOICES, "--secret-file", str(one))
    kept = [one.read_text().strip()]
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_ELSEWHERE", extend_api.connection_json(webhook_secrets=kept))
    assert elsewhere("rotate", *TO, "--secret-file", str(two))[0] == 0
    code, _, complained = elsewhere("rotate", *TO, "--finish")
    assert (code, "does not have the secret" in complained) == (1, True)
    assert len(endpoints(extend_api)) == 2
    kept.append(two.read_text().strip())
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_ELSEWHERE", extend_api.connection_json(webhook_secrets=kept))
    code, said, _ = elsewhere("rotate", *TO, "--finish")
    assert (code, len(endpoints(extend_api))) == (0, 1)
    assert "Now take number 1 of its 2 webhook_secrets out of connection" in said


def test_an_unknown_connection_is_named(typed: Typed) -> None:
    code, _, complained = typed("list", "--conn-id", "of_nobody")
    assert (code, "of_nobody" in complained) == (1, True)


# ---------------------------------------------------------------- rotate, remove, list


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


# ---------------------------------------------------------------- arguments


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


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``airflow extend webhooks …`` as a person types it."""
    return subprocess.run(
        [sys.executable, "-m", "airflow", "extend", "webhooks", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment, "NO_COLOR": "1"},
    )
