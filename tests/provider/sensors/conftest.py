"""What holds for all tests of the sensor."""

from __future__ import annotations

import pytest

from fixtures.extend.api import ExtendApi


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True)
