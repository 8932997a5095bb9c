"""What holds for all tests of the provider."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def prompt_triggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let triggers report at once: no scheduler is there that they could be too quick for."""
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)
