"""The secret of a webhook endpoint where the connection is not in Airflow's database."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from extend_provider.webhooks.registration.labels import fingerprint_of
from fixtures.extend.api import ExtendApi
from fixtures.webhooks.registered import (
    INBOX,
    INVOICES,
    TO,
    Typed,
    endpoints,
    in_a_process,
    refusal,
)


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
