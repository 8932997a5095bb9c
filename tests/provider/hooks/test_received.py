"""A run's text as it was received: no byte is lost to decoding, no value makes an answer unreadable."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extend_provider.exceptions import ExtendServerError
from fixtures.extend.hook_runner import HookRunner, set_connection
from fixtures.extend.scripted_server import Reply, ScriptedServer

#: What some decoder or other changes or refuses.
RUNS = {
    "digits": b'{"status": "PROCESSED", "id": "run_1", "total": 1.10, "zero": -0.0, "exact": 1E+2}',
    "beyond a double": b'{"id":"run_1","status":"PROCESSED","total":1e400,"small":1e-400}',
    "beyond 64 bits": b'{"id":"run_1","status":"PROCESSED","iban":123456789012345678901234567890}',
    "escapes": b'{"id":"run_1","status":"PROCESSED","path":"a\\/b \\u00e9 \\ud83d\\ude00 \\u0000"}',
    "half a pair": b'{"id":"run_1","status":"PROCESSED","name":"\\ud83d!"}',
    "a broken byte": b'{"id":"run_1","status":"PROCESSED","name":"M\xfcller"}',
    "a repeated key": b'{"id":"run_1","status":"PROCESSED","total":1,"total":2}',
    "no number": b'{"id":"run_1","status":"PROCESSED","total":NaN}',
    "lines": b'{\r\n  "id": "run_1",\n  "status": "PROCESSED"\n}',
    "nested": b'{"id":"run_1","status":"PROCESSED","workflowRun":{"id":"}"},"list":[{"a":"]"},[]]}',
}
#: How the versions wrap a run.
ENVELOPES = {
    "2026-02-09": b"%s",
    "2025-04-21": b'\n{ "success" : true,"other":{"workflowRun":{}}, "workflowRun" : %s , "more":[1.50] }',
}


def get(
    hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, body: bytes, api_version: str, **options: Any
) -> Any:
    with ScriptedServer(Reply(body=body)) as server:
        set_connection(monkeypatch, server.url, extra=json.dumps({"api_version": api_version}))
        return hooks.run(lambda hook: hook.get_run("run_1"), **options)


@pytest.mark.parametrize("api_version", ENVELOPES)
@pytest.mark.parametrize("text", RUNS.values(), ids=RUNS)
def test_a_run_keeps_its_text_byte_for_byte(
    hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, text: bytes, api_version: str
) -> None:
    run = get(hooks, monkeypatch, ENVELOPES[api_version] % text, api_version)
    assert run.received == text
    assert (run.id, run.status) == ("run_1", "PROCESSED")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>", id="a page"),
        pytest.param(b'{"id":"run_1"', id="half of it"),
        pytest.param(b'{"id":"run_1"} {}', id="two"),
        pytest.param(b"[" * 100_000, id="too deep"),
    ],
)
def test_an_answer_that_is_not_json_is_reported(
    hooks: HookRunner, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    with pytest.raises(ExtendServerError, match="not JSON"):
        get(hooks, monkeypatch, body, "2026-02-09", max_attempts=1)
