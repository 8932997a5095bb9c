"""Where documents land in these tests: everywhere that a warehouse can be run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.postgres import Database
from pipeline.warehouse_files import Place


@pytest.fixture(params=["duckdb", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """Make a warehouse that nothing has landed in, by a name."""
    if request.param == "duckdb":
        return lambda name: tmp_path / f"{name}.duckdb"
    new_database: Callable[[], Database] = request.getfixturevalue("new_database")
    return lambda name: new_database()


@pytest.fixture
def file(new_place: Callable[[str], Place]) -> Place:
    """A warehouse that nothing has landed in."""
    return new_place("warehouse")
