"""Where documents land in these tests: everywhere that a warehouse can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.engines.postgres import Database
from fixtures.pipeline.chunk_tasks import chunk, waiting
from fixtures.tasks.xcoms import Place as XCom
from fixtures.warehouse.data_tests import broken_in_file
from fixtures.warehouse.files import Place

__all__ = ["chunk", "waiting"]


@pytest.fixture(autouse=True)
def airflow_xcoms(xcoms: dict[XCom, Any]) -> None:
    """Keep XComs although no Airflow is there."""


def _make_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    if request.param == "duckdb":
        return lambda name: tmp_path / f"{name}.duckdb"
    new_database: Callable[[], Database] = request.getfixturevalue("new_database")
    return lambda name: new_database()


def _check(place: Place) -> Iterator[Place]:
    yield place
    if isinstance(place, Path):
        assert broken_in_file(place) == []


@pytest.fixture(params=["duckdb", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Place]:
    """Make a warehouse that nothing has landed in, by a name."""
    return _make_place(request, tmp_path)


@pytest.fixture
def file(new_place: Callable[[str], Place]) -> Iterator[Place]:
    """A warehouse that nothing has landed in; what lands in a file has to pass the data tests."""
    yield from _check(new_place("warehouse"))


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.full)])
def duckdb_first(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The same, for tests of which most of the code runs in DuckDB: Postgres only among the full tests."""
    yield from _check(_make_place(request, tmp_path)("warehouse"))
