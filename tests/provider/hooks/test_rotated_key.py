"""A connection that changes, or cannot be read, while a hook lives; with both hooks."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk.definitions.connection import Connection

from extend_provider.batch.waiting.polling import Outcome, PollResult
from extend_provider.exceptions import ExtendAuthError, ExtendConnectionError
from extend_provider.hooks.extend import ExtendAsyncHook, ExtendHook
from extend_provider.triggers.batch import ExtendBatchTrigger
from fixtures.extend.api import ExtendApi
from fixtures.extend.hook_runner import (
    BATCH,
    CONN_ID,
    QUICK,
    RUN,
    HookRunner,
    get_run,
    set_connection,
    submit_batch,
)
from fixtures.extend.scripted_server import Reply, ScriptedServer

UNKNOWN_KEY = Reply(401, {"code": "UNAUTHORIZED", "message": "Invalid API key."})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        set_connection(monkeypatch, server.url, key="sk_old")
        yield server


def keys(server: ScriptedServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


@pytest.mark.parametrize(("use", "done"), [(get_run, RUN), (submit_batch, BATCH)], ids=["read", "submission"])
def test_a_rotated_key_is_read_again_and_the_request_repeated(
    hooks: HookRunner, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, use: Any, done: Reply
) -> None:
    server.script = [RUN, UNKNOWN_KEY, done, RUN]

    def rotate(hook: Any) -> Any:
        set_connection(monkeypatch, server.url, key="sk_new", extra={"workspace_id": "ws_new"})
        return use(hook)

    hooks.run(get_run, rotate, get_run, max_attempts=1)
    assert keys(server) == ["sk_old", "sk_old", "sk_new", "sk_new"]
    assert server.requests[-1].headers["x-extend-workspace-id"] == "ws_new"


def test_a_second_refusal_ends_with_an_error(
    hooks: HookRunner, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [RUN, UNKNOWN_KEY]

    def rotate(hook: Any) -> Any:
        set_connection(monkeypatch, server.url, key="sk_new")
        return submit_batch(hook)

    with pytest.raises(ExtendAuthError) as failure:
        hooks.run(get_run, rotate)
    assert not failure.value.retryable
    assert keys(server) == ["sk_old", "sk_old", "sk_new"]


def test_a_key_can_be_rotated_twice(
    hooks: HookRunner, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [RUN, UNKNOWN_KEY, RUN, UNKNOWN_KEY, RUN]

    def rotate(key: str) -> Any:
        def use(hook: Any) -> Any:
            set_connection(monkeypatch, server.url, key=key)
            return get_run(hook)

        return use

    assert hooks.run(get_run, rotate("sk_2"), rotate("sk_3")).id == "run_1"
    assert keys(server) == ["sk_old", "sk_old", "sk_2", "sk_2", "sk_3"]


async def test_concurrent_requests_survive_a_rotation(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Refused slowly, so that all three have arrived with the old key before the first one comes again.
    refused = dataclasses.replace(UNKNOWN_KEY, delay=0.5)
    server.script = [RUN, refused, refused, refused, RUN]
    async with ExtendAsyncHook(CONN_ID, backoff=QUICK) as hook:
        await hook.get_run("run_1")
        set_connection(monkeypatch, server.url, key="sk_new")
        await asyncio.gather(*(hook.get_run("run_1") for _ in range(3)))
    assert sorted(keys(server)) == ["sk_new"] * 3 + ["sk_old"] * 4


class SecretsBackend:
    """Answers only after a number of failures, in the ways that Airflow lets them be seen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any]) -> None:
        self.failures: list[Exception] = []
        self.asked = 0
        self._connection = connection
        monkeypatch.setattr(Connection, "get", classmethod(lambda cls, conn_id: self.look_up(conn_id)))
        monkeypatch.setattr(Connection, "async_get", classmethod(lambda cls, conn_id: self.answer(conn_id)))

    def look_up(self, conn_id: str) -> Connection:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return Connection.from_json(json.dumps(self._connection), conn_id=conn_id)

    async def answer(self, conn_id: str) -> Connection:
        return self.look_up(conn_id)


def unreachable() -> Exception:
    return ConnectionError("https://vault:8200/?token=s3cret refuses connections")


def test_a_connection_that_cannot_be_read_at_the_moment_is_read_the_next_time(
    hooks: HookRunner, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [RUN]
    backend = SecretsBackend(monkeypatch, {"conn_type": "extend", "host": server.url, "password": "sk_1"})
    backend.failures = [unreachable()]
    with pytest.raises(ExtendConnectionError, match="could not be read") as failure:
        hooks.run(get_run)
    assert failure.value.retryable
    assert "s3cret" not in str(failure.value)
    assert hooks.run(get_run).id == "run_1"


def test_the_test_button_reports_an_unreadable_connection(
    hooks: HookRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = SecretsBackend(monkeypatch, {})
    backend.failures = [unreachable()]
    works, message = hooks.run(lambda hook: hook.test_connection(), enter=False)
    assert not works
    assert "could not be read" in message


class TestWaiting:
    """In a trigger, which has nothing but its hook."""

    @pytest.fixture(autouse=True)
    def batch_id(self, extend_api: ExtendApi) -> str:
        extend_api.configure(synthetic=True)
        return extend_api.submit_batch([{"file": {"text": "t"}}])

    def wait(self, batch_id: str) -> PollResult:
        policy = {"deadline": time.time() + 30, "poll_interval": 0.2}
        trigger = ExtendBatchTrigger(batch_id=batch_id, run_count=1, extend_conn_id=CONN_ID, policy=policy)

        async def first() -> PollResult:
            async for event in trigger.run():
                return PollResult.from_event(event.payload)
            raise AssertionError("no event")

        return asyncio.run(first())

    @pytest.mark.parametrize("kind", ["unreachable", "missing"])
    def test_a_secrets_backend_that_fails_briefly_does_not_end_the_wait(
        self, batch_id: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """Airflow hides what its backends raise: to it such a connection is missing."""
        backend = SecretsBackend(monkeypatch, json.loads(extend_api.connection_json()))
        backend.failures = [unreachable() if kind == "unreachable" else _missing() for _ in range(2)]
        assert self.wait(batch_id).outcome is Outcome.DONE
        assert backend.asked == 3

    def test_a_connection_that_stays_missing_ends_the_wait(
        self, batch_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("extend_provider.hooks.extend_async.MISSING_SECONDS", 0.5)
        backend = SecretsBackend(monkeypatch, {})
        backend.failures = [_missing() for _ in range(20)]
        ended = self.wait(batch_id)
        assert ended.outcome is Outcome.GAVE_UP
        assert "isn't defined" in ended.message

    def test_a_rotated_key_does_not_end_the_wait(
        self, batch_id: str, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        extend_api.configure(hold=True)
        held = extend_api.submit_batch([{"file": {"text": "t"}}])
        set_connection(monkeypatch, extend_api.url, key=extend_api.key)
        extend_api.configure(faults=[{"endpoint": "GET /workflow_runs", "status": 401, "skip": 1}])
        looks = ExtendBatchTrigger.poll

        async def look(trigger: ExtendBatchTrigger, hook: ExtendAsyncHook) -> Any:
            progress = await looks(trigger, hook)
            set_connection(monkeypatch, extend_api.url, key=extend_api.key, extra={"timeout": 30})
            extend_api.configure(hold=False)
            return progress

        monkeypatch.setattr(ExtendBatchTrigger, "poll", look)
        assert self.wait(held).outcome is Outcome.DONE
        assert extend_api.stats()["responses"]["GET /workflow_runs 401"] == 1


def _missing() -> Exception:
    from airflow.sdk.exceptions import AirflowNotFoundException

    return AirflowNotFoundException(f"The conn_id `{CONN_ID}` isn't defined")


def test_a_hook_in_a_worker_reports_a_missing_connection_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = SecretsBackend(monkeypatch, {})
    backend.failures = [_missing()]
    with pytest.raises(type(_missing()), match="isn't defined"):
        ExtendHook(CONN_ID).get_run("run_1")
