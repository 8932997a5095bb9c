"""What holds for all tests of the provider."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.tasks.xcoms import Place


@pytest.fixture(autouse=True)
def prompt_triggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let triggers report at once: no scheduler is there that they could be too quick for."""
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def airflow_xcoms(xcoms: dict[Place, Any]) -> None:
    """Keep XComs although no Airflow is there."""
