"""Lineage costs nothing where nobody reads it; ``tests/dags/test_assets.py`` has what readers are told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from airflow.sdk import plugins_manager

from extend_pipeline.dag.lineage import report_lineage


def test_no_collector_is_made_without_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> NoReturn:
        raise AssertionError("the collector, even the one that collects nothing, imports boto3")

    monkeypatch.setattr("airflow.sdk.lineage.get_hook_lineage_collector", made)
    monkeypatch.setattr(plugins_manager, "get_hook_lineage_readers_plugins", list)
    settings: Any = SimpleNamespace(source=())
    report_lineage(settings, ["invoice"])
