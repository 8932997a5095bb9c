"""What is particular to the async hook: one session on one loop that nothing holds up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from extend_provider.client.models import BatchInput, FileInput
from extend_provider.exceptions import ExtendInputError
from extend_provider.hooks.extend import ExtendAsyncHook, ExtendHook
from fixtures.extend.api import ExtendApi
from fixtures.extend.hook_runner import CONN_ID, QUICK, RUN, set_connection
from fixtures.extend.scripted_server import Reply, ScriptedServer
from fixtures.tasks.heartbeat import Heartbeat, heartbeat


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(RUN) as server:
        yield server


@pytest.fixture
async def pulse() -> AsyncIterator[Heartbeat]:
    async with heartbeat() as beat:
        yield beat


async def test_the_loop_monitor_detects_a_blocking_call(pulse: Heartbeat) -> None:
    await asyncio.sleep(0.05)
    time.sleep(0.4)  # what no hook may do
    await asyncio.sleep(0.05)
    assert pulse.held_up > 0.2


async def test_a_slow_answer_does_not_hold_up_the_loop(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, pulse: Heartbeat
) -> None:
    server.script = [Reply(body=RUN.body, delay=0.5)]
    set_connection(monkeypatch, server.url)
    async with ExtendAsyncHook(CONN_ID) as hook:
        pulse.clear()
        await asyncio.gather(*(hook.get_run("run_1") for _ in range(5)))
    assert pulse.held_up < 0.2


async def test_waiting_between_tries_does_not_hold_up_the_loop(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, pulse: Heartbeat
) -> None:
    server.script = [Reply(429, headers={"Retry-After": "0.6"}), RUN]
    set_connection(monkeypatch, server.url)
    async with ExtendAsyncHook(CONN_ID) as hook:
        pulse.clear()
        start = time.monotonic()
        await hook.get_run("run_1")
    assert time.monotonic() - start >= 0.6
    assert pulse.held_up < 0.2


async def test_hooks_of_both_kinds_share_the_connections_requests_per_second(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, pulse: Heartbeat
) -> None:
    set_connection(monkeypatch, server.url, extra={"requests_per_second": 20})

    def in_a_thread() -> None:
        with ExtendHook(CONN_ID) as hook:
            for _ in range(5):
                hook.get_run("run_1")

    async with ExtendAsyncHook(CONN_ID) as one, ExtendAsyncHook(CONN_ID) as two:
        pulse.clear()
        start = time.monotonic()
        await asyncio.gather(
            asyncio.to_thread(in_a_thread), *(hook.get_run("run_1") for hook in (one, two) for _ in range(5))
        )
    assert len(server.requests) == 15
    assert time.monotonic() - start >= 14 / 20 - 0.05
    assert pulse.held_up < 0.2


async def test_many_requests_at_once_reuse_connections(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, server.url)
    async with ExtendAsyncHook(CONN_ID) as hook:
        for _ in range(5):
            await asyncio.gather(*(hook.get_run("run_1") for _ in range(4)))
    assert len(server.requests) == 20
    assert server.connections <= 4


async def test_leaving_the_hook_closes_its_session_and_it_can_be_entered_again(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, server.url)
    hook = ExtendAsyncHook(CONN_ID)
    sessions = []
    for _ in range(2):
        async with hook:
            await hook.get_run("run_1")
            sessions.append(await hook.get_session())
    assert [session.closed for session in sessions] == [True, True]
    assert sessions[0] is not sessions[1]


async def test_cancelling_a_request_leaves_the_hook_usable(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [Reply(body=RUN.body, delay=5), RUN]
    set_connection(monkeypatch, server.url)
    async with ExtendAsyncHook(CONN_ID) as hook:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hook.get_run("run_1"), 0.2)
        assert (await hook.get_run("run_1")).id == "run_1"


async def test_the_inherited_session_sends_our_headers_and_none_of_the_extra(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, server.url, key="sk_1", extra={"workspace_id": "ws_1", "x-note": "to-nobody"})
    async with ExtendAsyncHook(CONN_ID).session("GET") as http:
        response = await http.run("/workflow_runs/run_1")
        assert response.status == 200
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer sk_1"
    assert request.headers["x-extend-workspace-id"] == "ws_1"
    assert not {"workspace_id", "x-note"} & request.headers.keys()


async def test_the_configuration_does_not_show_the_key(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_connection(monkeypatch, server.url, key="sk_live_4711")
    hook = ExtendAsyncHook(CONN_ID)
    assert "sk_live" not in repr(await hook.config())
    assert "sk_live" not in repr(await hook.get_settings())


async def test_a_wrong_connection_is_refused_on_entering(monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, "http://127.0.0.1:1", extra={"api_version": "1999-01-01"})
    with pytest.raises(ExtendInputError, match="1999-01-01"):
        async with ExtendAsyncHook(CONN_ID):
            pass


async def test_settings_before_entering_say_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        _ = ExtendAsyncHook(CONN_ID).api_version


async def test_no_session_is_left_open(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_connection(monkeypatch, server.url)
    with caplog.at_level(logging.ERROR, "asyncio"):
        async with ExtendAsyncHook(CONN_ID, backoff=QUICK) as hook:
            await hook.get_run("run_1")
        del hook
        await asyncio.sleep(0)
    assert "Unclosed" not in caplog.text


class TestAtScale:
    async def test_a_thousand_runs_are_listed_page_by_page(
        self, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        extend_api.configure(synthetic=True, max_page_size=300)
        set_connection(monkeypatch, extend_api.url, key=extend_api.key)
        async with ExtendAsyncHook(CONN_ID) as hook:
            inputs = [
                BatchInput(FileInput(text=f"Invoice {n}"), {"document_id": str(n)}) for n in range(1000)
            ]
            batch_id = await hook.create_batch("workflow_invoices", inputs)
            sizes: list[int] = []
            ids: set[str] = set()
            async for page in hook.iter_run_pages(batch_id=batch_id):
                sizes.append(len(page))
                ids.update(run.id for run in page)
        assert len(ids) == 1000
        assert max(sizes) <= 300
        assert extend_api.requests_to("POST /workflow_runs/batch") == 1
