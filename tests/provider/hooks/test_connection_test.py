"""Airflow's Test button on a connection: one request, and advice for each cause."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.definitions.connection import Connection

from fixtures.extend.hook_runner import KEY, HookRunner, set_connection
from fixtures.extend.scripted_server import Reply

BUSY = Reply(429, {"code": "RATE_LIMIT_EXCEEDED", "message": "Slow down."})
BROKEN = Reply(500, {"code": "INTERNAL_ERROR", "message": "Oops.", "retryable": True})


def diagnosis(hooks: HookRunner) -> str:
    works, message = hooks.run(lambda hook: hook.test_connection(), enter=False)
    assert works is False
    assert KEY not in message
    return str(message)


def test_a_working_connection_is_reported_after_one_request(hooks: HookRunner, serve: Any) -> None:
    server = serve(Reply(body={"data": []}))
    works, message = hooks.run(lambda hook: hook.test_connection())
    assert works
    assert server.url in message
    assert "2026-02-09" in message
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/workflow_runs")
    assert request.params["maxPageSize"] == "1"


@pytest.mark.parametrize(
    ("reply", "tells"),
    [
        pytest.param(
            Reply(401, {"code": "UNAUTHORIZED", "message": "Invalid API key."}), "API key", id="wrong-key"
        ),
        pytest.param(
            Reply(400, {"code": "INVALID_REQUEST", "message": "Missing x-extend-api-version header"}),
            "API version 2026-02-09",
            id="version-header",
        ),
        pytest.param(
            Reply(400, {"success": False, "error": "Unsupported API version"}),
            "API version 2026-02-09",
            id="version-in-the-older-body",
        ),
        pytest.param(
            Reply(400, {"code": "INVALID_REQUEST", "message": "x-extend-workspace-id is required"}),
            "workspace id",
            id="workspace-missing",
        ),
        pytest.param(Reply(403, {"code": "FORBIDDEN", "message": "No."}), "workspace id", id="forbidden"),
        pytest.param(Reply(402, {"code": "USAGE_BLOCKED", "message": "No."}), "out of credits", id="credits"),
        pytest.param(BUSY, "try again", id="rate-limit"),
        pytest.param(Reply(404, {"code": "NOT_FOUND", "message": "No."}), "region", id="not-found"),
        pytest.param(Reply(410, {"code": "ENDPOINT_REMOVED"}), "region", id="gone"),
        pytest.param(Reply(200, b"<html>Welcome to nginx"), "region", id="some-web-page"),
        pytest.param(Reply(302, headers={"Location": "https://login.test/"}), "region", id="redirect"),
        pytest.param(BROKEN, "an error of its own", id="server-fault"),
        pytest.param(Reply(fault="drop"), "No answer", id="dropped"),
    ],
)
def test_each_cause_has_its_advice_after_one_request(
    hooks: HookRunner, serve: Any, reply: Reply, tells: str
) -> None:
    server = serve(reply)
    assert tells in diagnosis(hooks)
    assert len(server.requests) == 1 or reply.fault


@pytest.mark.parametrize(
    ("fields", "tells"),
    [
        pytest.param({"url": "http://no-such-host.invalid"}, "No answer", id="unknown-host"),
        pytest.param({"url": "http://127.0.0.1:1"}, "No answer", id="refused"),
        pytest.param({"key": ""}, "no API key", id="no-key"),
        pytest.param({"url": "ftp://api.extend.ai"}, "base URL", id="no-http"),
        pytest.param({"url": "https://u:p@api.extend.ai"}, "base URL", id="key-in-the-url"),
        pytest.param({"extra": {"api_version": "2024-01-01"}}, "2026-02-09", id="unknown-version"),
        pytest.param({"extra": {"requests_per_second": -1}}, "requests_per_second", id="rate"),
        pytest.param({"extra": {"timeout": "long"}}, "timeout", id="timeout"),
    ],
)
def test_a_wrong_field_is_named(
    hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], tells: str
) -> None:
    set_connection(monkeypatch, **{"url": "http://127.0.0.1:1", **fields})
    assert tells in diagnosis(hooks)


def test_airflow_finds_the_hook(serve: Any) -> None:
    server = serve(Reply(401, {"code": "UNAUTHORIZED", "message": "Invalid API key."}))
    works, message = Connection(
        conn_id="unsaved", conn_type="extend", host=server.url, password=KEY
    ).test_connection()
    assert (works, len(server.requests)) == (False, 1)
    assert "API key" in message
