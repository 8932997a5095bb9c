"""How an ``extend`` connection is read, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.definitions.connection import Connection

from extend_provider.client.settings import ExtendSettings
from extend_provider.exceptions import ExtendInputError


def settings(extra: dict[str, Any] | None = None, **fields: Any) -> ExtendSettings:
    connection = Connection(conn_id="c", conn_type="extend", **{"password": "sk_1", **fields})
    return ExtendSettings.from_connection(connection, extra or {})


def test_an_api_key_is_all_that_is_needed() -> None:
    read = settings()
    assert (read.base_url, read.api_version) == ("https://api.extend.ai", "2026-02-09")
    assert (read.workspace_id, read.requests_per_second, read.verify, read.trust_env) == (
        None,
        None,
        True,
        True,
    )


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "https://api.eu1.extend.ai"}, "https://api.eu1.extend.ai"),
        ({"host": " https://api.eu1.extend.ai/ "}, "https://api.eu1.extend.ai"),
        ({"host": "api.us2.extend.app"}, "https://api.us2.extend.app"),
        ({"host": "localhost", "port": 8100, "schema": "http"}, "http://localhost:8100"),
        ({"host": "http://localhost:8100", "port": 9}, "http://localhost:8100"),
        ({"host": "http://localhost/v1", "port": 8100}, "http://localhost:8100/v1"),
        ({"host": "http://[::1]:8100"}, "http://[::1]:8100"),
        ({"host": ""}, "https://api.extend.ai"),
        ({"host": "https://api.eu1.extend.ai", "port": 443}, "https://api.eu1.extend.ai"),
        ({"host": "http://localhost", "port": 443}, "http://localhost:443"),
    ],
)
def test_the_host_becomes_a_base_url(fields: dict[str, Any], base_url: str) -> None:
    assert settings(**fields).base_url == base_url


def test_a_connection_uri_is_read_too() -> None:
    connection = Connection.from_uri("extend://:sk_1@api.eu1.extend.ai?workspace_id=ws_1", conn_id="c")
    read = ExtendSettings.from_connection(connection, connection.extra_dejson)
    assert (read.base_url, read.workspace_id) == ("https://api.eu1.extend.ai", "ws_1")


@pytest.mark.parametrize(
    ("extra", "field", "value"),
    [
        ({"api_version": "2025-04-21"}, "api_version", "2025-04-21"),
        ({"api_version": None}, "api_version", "2026-02-09"),
        ({"workspace_id": " ws_1 "}, "workspace_id", "ws_1"),
        ({"requests_per_second": "2.5"}, "requests_per_second", 2.5),
        ({"requests_per_second": ""}, "requests_per_second", None),
        ({"timeout": 30}, "timeout", (30, 30)),
        ({}, "listing_grace", 120),
        ({"listing_grace": ""}, "listing_grace", 120),
        ({"listing_grace": "7.5"}, "listing_grace", 7.5),
        ({"listing_grace": 0}, "listing_grace", 0),
        ({"timeout": [3, 30]}, "timeout", (3, 30)),
        ({}, "acceptance_window", 300),
        ({"acceptance_window": ""}, "acceptance_window", 300),
        ({"acceptance_window": "60"}, "acceptance_window", 60),
        ({"verify": "false"}, "verify", False),
        ({"verify_ssl": False}, "verify", False),
        ({"proxy": "http://p:1"}, "proxies", {"http": "http://p:1", "https": "http://p:1"}),
        ({"trust_env": False}, "trust_env", False),
    ],
)
def test_extras_are_read(extra: dict[str, Any], field: str, value: Any) -> None:
    assert getattr(settings(extra), field) == value


@pytest.mark.parametrize(
    ("fields", "extra", "names"),
    [
        pytest.param({"password": None}, {}, "no API key", id="no-key"),
        pytest.param({"password": "  "}, {}, "no API key", id="blank-key"),
        pytest.param({"password": "sk_live 4711"}, {}, "API key", id="blank-in-key"),
        pytest.param({"password": "sk_live\r\nX: 4711"}, {}, "API key", id="line-in-key"),
        pytest.param({}, {"workspace_id": "ws_é"}, "workspace_id", id="workspace"),
        pytest.param({}, {"api_version": "2024-12-23"}, "api_version", id="version"),
        pytest.param({}, {"requests_per_second": 0}, "requests_per_second", id="no-rate"),
        pytest.param({}, {"requests_per_second": "inf"}, "requests_per_second", id="infinite-rate"),
        pytest.param({}, {"requests_per_second": [1]}, "requests_per_second", id="rate-list"),
        pytest.param({}, {"timeout": [1, 2, 3]}, "timeout", id="three-timeouts"),
        pytest.param({}, {"timeout": -1}, "timeout", id="negative-timeout"),
        pytest.param({}, {"acceptance_window": 0}, "acceptance_window", id="no-window"),
        pytest.param({}, {"listing_grace": -1}, "listing_grace", id="negative-grace"),
        pytest.param({}, {"listing_grace": "soon"}, "listing_grace", id="grace-word"),
        pytest.param({}, {"verify": "/no/such/file"}, "verify", id="no-bundle"),
        pytest.param({}, {"cert": ["/no/such/file", "/no/such/key"]}, "cert", id="no-certificate"),
        pytest.param({}, {"cert": 3}, "cert", id="certificate-number"),
        pytest.param({}, {"proxies": ["http://p:1"]}, "proxies", id="proxy-list"),
        pytest.param({"host": "ftp://h"}, {}, "host", id="scheme"),
        pytest.param({"host": "https://"}, {}, "host", id="no-host"),
        pytest.param({"host": "http://h:eight"}, {}, "host", id="port"),
        pytest.param({"host": "http://[::1"}, {}, "host", id="half-an-ipv6"),
        pytest.param({"host": "https://h/?key=sk_live_4711"}, {}, "host", id="query"),
        pytest.param({"host": "https://user:sk_live_4711@h"}, {}, "host", id="user"),
    ],
)
def test_wrong_fields_are_refused_by_name_and_without_secrets(
    fields: dict[str, Any], extra: dict[str, Any], names: str
) -> None:
    with pytest.raises(ExtendInputError, match=names) as refusal:
        settings(extra, **fields)
    assert "'c'" in str(refusal.value)
    assert "4711" not in str(refusal.value)


def test_a_submission_has_a_longer_timeout_unless_the_connection_sets_one() -> None:
    assert settings().timeouts(brief=True) == (10, 60)
    assert settings().timeouts(brief=False) == (10, 300)
    assert settings({"timeout": 5}).timeouts(brief=False) == (5, 5)


def test_the_acceptance_window_does_not_depend_on_the_clients_timeout() -> None:
    assert settings().submission_window == 2 * 10 + 300
    assert settings({"timeout": 1}).submission_window == 2 * 1 + 300
    assert settings({"timeout": [1, 900], "acceptance_window": 60}).submission_window == 2 * 1 + 60
    assert settings({"timeout": 1}).departure_window == 2


def test_the_timeout_of_an_answer_is_at_most_the_acceptance_window() -> None:
    window = {"acceptance_window": 60}
    assert settings(window).timeouts(brief=False) == (10, 60)
    assert settings({"timeout": [5, 900], **window}).timeouts(brief=False) == (5, 60)
    assert settings({"timeout": [5, 900], **window}).timeouts(brief=True) == (5, 900)
