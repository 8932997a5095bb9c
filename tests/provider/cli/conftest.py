"""A connection in Airflow's database, as people make it in the UI, and the commands that use it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fixtures.extend.api import ExtendApi
from fixtures.tasks.extend_command import extend_command
from fixtures.webhooks.registered import Typed


@pytest.fixture
def stored_connection(extend_api: ExtendApi, airflow_database: None) -> Iterator[str]:
    """Yield the id of a connection to the emulator that neither the environment nor a backend has."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    conn_id = "extend_stored"
    with create_session() as session:
        session.add(Connection.from_json(extend_api.connection_json(), conn_id=conn_id))
    yield conn_id
    with create_session() as session:
        session.query(Connection).filter(Connection.conn_id == conn_id).delete()


@pytest.fixture
def set_extra(stored_connection: str) -> Callable[..., None]:
    """Return what sets fields of the stored connection's extra; None takes one out."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    def change(**fields: Any) -> None:
        with create_session() as session:
            stored = session.query(Connection).filter(Connection.conn_id == stored_connection).one()
            extra = {**json.loads(stored.extra or "{}"), **fields}
            stored.set_extra(json.dumps({key: value for key, value in extra.items() if value is not None}))

    return change


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
