"""A database of Postgres for a test, and a user of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.engines.postgres import Database


@pytest.fixture
def database(new_database: Callable[[], Database]) -> Database:
    """A database of the test's own."""
    return new_database()


@pytest.fixture
def role(database: Database) -> str:
    """A user of the server that may connect and no more."""
    name = f"role_of_{database.name}"
    database.rows(f"CREATE ROLE {name} LOGIN")
    return name
