"""What holds for all tests of the operators."""

from __future__ import annotations

import pytest

from extend_provider.hooks.extend import ExtendHook
from fixtures.extend.api import ExtendApi


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True)


@pytest.fixture
def impatient(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absence is proven three seconds after a submission."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT",
        extend_api.connection_json(timeout=1, acceptance_window=1, listing_grace=1),
    )


@pytest.fixture
def file_ids() -> list[str]:
    with ExtendHook() as hook:
        return [hook.upload_file(f"{index}.txt", f"text {index}".encode()).id for index in range(3)]
