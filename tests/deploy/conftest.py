"""A place with the wheel, installed as the README says."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.guides import ROOT, Place, blocks, make_place


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """An Airflow in which the README's first commands were run, word by word."""
    place = make_place(tmp_path_factory.mktemp("production"))
    place.run(blocks(ROOT / "README.md", "In your own Airflow")[0])
    return place


@pytest.fixture(scope="session")
def wheel(installed: Place) -> Path:
    """The wheel that was built for it."""
    (found,) = (installed.project / "dist").glob("*.whl")
    return found
