"""Live tests: on one Airflow, one after the other, because they share its emulator, warehouse and DAGs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.airflow.timing import TEST_SECONDS

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder ``live``."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
