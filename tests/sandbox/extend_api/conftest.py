"""What tests of the emulator share: a client of the SDK, and an endpoint for webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from extend_ai import Extend

from fixtures.extend.api import ExtendApi
from fixtures.extend.scripted_server import ScriptedServer


@pytest.fixture
def client(extend_api: ExtendApi) -> Any:
    """Extend's SDK, at the emulator."""
    return Extend(token=extend_api.key, base_url=extend_api.url)


@pytest.fixture
def receiver() -> Iterator[ScriptedServer]:
    """An endpoint that accepts everything."""
    with ScriptedServer() as server:
        yield server
