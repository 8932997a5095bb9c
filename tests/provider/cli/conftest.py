"""A connection in Airflow's database, as people make it in the UI."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fixtures.extend.api import ExtendApi


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
