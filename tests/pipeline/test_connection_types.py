"""Each connection type has exactly one provider, so that Airflow stores it under its own name."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager

from extend_pipeline import connection_types
from extend_pipeline.connection_types import DESTINATIONS
from extend_pipeline.get_provider_info import get_provider_info

OFFICIAL = {
    "apache-airflow-providers-amazon": "redshift",
    "apache-airflow-providers-databricks": "databricks",
    "apache-airflow-providers-google": "google_cloud_platform",
    "apache-airflow-providers-microsoft-azure": "wasb",
    "apache-airflow-providers-postgres": "postgres",
    "apache-airflow-providers-snowflake": "snowflake",
}


def registered(monkeypatch: pytest.MonkeyPatch, *installed: str) -> dict[str, dict[str, Any]]:
    """Return our connection types where only these official providers are installed."""

    def distribution(name: str) -> None:
        if name not in installed:
            raise PackageNotFoundError(name)

    monkeypatch.setattr(connection_types, "distribution", distribution)
    return {entry["connection-type"]: entry for entry in get_provider_info()["connection-types"]}


def test_every_type_is_registered_without_official_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    types = registered(monkeypatch)
    assert set(types) == {"extend", "wasb", *DESTINATIONS}
    for kind, entry in types.items():
        module, name = entry["hook-class-name"].rsplit(".", 1)
        hook = getattr(importlib.import_module(module), name)
        assert (hook.conn_type, hook.hook_name) == (kind, entry["hook-name"])
        assert kind == "wasb" or callable(hook.test_connection)


@pytest.mark.parametrize("package", OFFICIAL)
def test_an_official_provider_keeps_its_type(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    types = registered(monkeypatch, package)
    assert OFFICIAL[package] not in types
    assert len(types) == len(OFFICIAL) + 1


def test_airflow_knows_every_type_that_documents_land_through() -> None:
    hooks = ProvidersManager().hooks  # type: ignore[no-untyped-call]  # Airflow's own
    for kind in ("extend", "aws", "wasb", *DESTINATIONS):
        hook = hooks[kind]
        assert hook is not None, kind
        assert hook.connection_type == kind
        assert hook.connection_testable or kind in ("aws", "wasb")
