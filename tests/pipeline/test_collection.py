"""Collecting takes a batch as a whole, and only when it has settled."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.collection import collect
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.extend import ExtendAsyncHook
from fixtures.extend_api import ExtendApi


def test_a_batch_that_has_not_settled_is_not_collected(
    extend_api: ExtendApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would stand for good, and claim what Extend has not answered yet."""
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(hold=True)
    batch_id = extend_api.submit_batch([{"file": {"text": f"text {number}"}} for number in range(3)])
    destination = ObjectStoragePath(f"file://{tmp_path}/raw/part")
    with pytest.raises(ExtendError, match="is PENDING, so nothing of the batch was collected") as refusal:
        collect(ExtendAsyncHook(), batch_id, [], destination)
    assert refusal.value.retryable
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
