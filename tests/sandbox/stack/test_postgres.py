"""Airflow's metadata database: one URL for both of Airflow's engines, wherever the home lies."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from sandbox.stack.postgres import MAX_SOCKET_FOLDER, Postgres
from sandbox.stack.processes.process import Component, tail


@pytest.fixture(params=["short", "long"])
def postgres(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Postgres]:
    """A running server; the long folder is one in which no Unix socket can be."""
    folder = tmp_path if request.param == "short" else tmp_path / ("f" * MAX_SOCKET_FOLDER)
    server = Postgres(folder / "pg")
    component = Component("postgres", server.initialise(os.environ), tmp_path / "postgres.log")
    component.start()
    try:
        deadline = time.monotonic() + 20
        while not server.is_ready():
            component.check_alive()
            assert time.monotonic() < deadline, tail(component.log)
            time.sleep(0.05)
        assert not _listening(component)
        yield server
    finally:
        component.stop()
        server.dispose()
    assert "database system is shut down" in tail(component.log)
    assert not server.is_ready()


async def test_sync_and_async_engine_use_the_same_url(postgres: Postgres) -> None:
    engine = create_engine(postgres.sqlalchemy_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()
    async_engine = create_async_engine(postgres.sqlalchemy_url)
    async with async_engine.connect() as async_connection:
        assert (
            (await async_connection.execute(text("SELECT version()")))
            .scalar_one()
            .startswith("PostgreSQL 18")
        )
    await async_engine.dispose()


def _listening(component: Component) -> list[object]:
    """Ports that the server listens on: a socket in a folder of its own is all that it shall have."""
    found: list[object] = []
    for process in component.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # Postgres has helpers that come and go
            connections = process.net_connections("inet")
            found += [each for each in connections if each.status == psutil.CONN_LISTEN]
    return found
