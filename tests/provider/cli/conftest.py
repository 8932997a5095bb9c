"""A connection in Airflow's database, as people make it in the UI."""

from __future__ import annotations

from collections.abc import Iterator

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
