"""Both hooks, and a scripted server that their connection points at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fixtures.extend.hook_runner import KEY, HookRunner, set_connection
from fixtures.extend.scripted_server import Reply, ScriptedServer


@pytest.fixture(params=["sync", "async"])
def hooks(request: pytest.FixtureRequest) -> HookRunner:
    return HookRunner(request.param)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a scripted server and point the connection at it: ``serve(reply, …, **connection fields)``."""
    running: list[ScriptedServer] = []

    def start(*script: Reply, **fields: Any) -> ScriptedServer:
        server = ScriptedServer(*script).__enter__()
        running.append(server)
        set_connection(monkeypatch, server.url, key=KEY, **fields)
        return server

    yield start
    for server in running:
        server.__exit__()
