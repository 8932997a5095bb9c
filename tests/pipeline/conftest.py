"""Where documents land in these tests: everywhere that a warehouse can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.chunk_tasks import chunk, waiting
from fixtures.data_tests import broken_in_file
from fixtures.postgres import Database
from fixtures.warehouse_files import Place
from fixtures.xcoms import Place as XCom

__all__ = ["chunk", "waiting"]


@pytest.fixture(autouse=True)
def airflow_xcoms(xcoms: dict[XCom, Any]) -> None:
    """Keep XComs although no Airflow is there."""


@pytest.fixture(params=["duckdb", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """Make a warehouse that nothing has landed in, by a name."""
    if request.param == "duckdb":
        return lambda name: tmp_path / f"{name}.duckdb"
    new_database: Callable[[], Database] = request.getfixturevalue("new_database")
    return lambda name: new_database()


@pytest.fixture
def file(new_place: Callable[[str], Place]) -> Iterator[Place]:
    """A warehouse that nothing has landed in; what lands in a file has to pass the data tests."""
    place = new_place("warehouse")
    yield place
    if isinstance(place, Path):
        assert broken_in_file(place) == []


@pytest.fixture
def duckdb_file(tmp_path: Path) -> Iterator[Path]:
    """A DuckDB file that nothing has landed in; what lands in it has to pass the data tests."""
    place = tmp_path / "warehouse.duckdb"
    yield place
    assert broken_in_file(place) == []
