"""Collecting takes a batch as a whole, and only when it has settled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.collection import collect
from extend_pipeline.storage.raw_zone import RawPart
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.extend import ExtendAsyncHook
from fixtures.extend.api import ExtendApi

RUNS = 4


class Batch:
    """A batch, and the place in the raw zone that it is collected into."""

    def __init__(self, api: ExtendApi, folder: Path) -> None:
        self.api = api
        self.id = api.submit_batch([{"file": {"text": f"text {number}"}} for number in range(RUNS)])
        self.folder = folder

    def collect(self, expected: int = RUNS) -> RawPart:
        destination = ObjectStoragePath(f"file://{self.folder}/raw/part-00000.jsonl.gz")
        return collect(ExtendAsyncHook(), self.id, [], destination, expected=expected)

    def refusal(self, says: str) -> None:
        """Be refused, with nothing written."""
        with pytest.raises(ExtendError, match=says) as refusal:
            self.collect()
        assert refusal.value.retryable
        assert not [path for path in self.folder.rglob("*") if path.is_file()]

    def delete(self, *runs: dict[str, Any]) -> None:
        for run in runs:
            assert self.api.call("DELETE", f"/workflow_runs/{run['id']}").ok


@pytest.fixture
def batch(extend_api: ExtendApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", extend_api.connection_json())
    extend_api.configure(synthetic=True)
    return Batch(extend_api, tmp_path)


def test_a_batch_that_has_not_settled_is_not_collected(batch: Batch) -> None:
    """Its rows would stand for good, and claim what Extend has not answered yet."""
    batch.api.configure(hold=True)
    batch = Batch(batch.api, batch.folder)
    batch.refusal("is PENDING, so nothing of the batch was collected")


@pytest.mark.parametrize("listed", [0, 2], ids=["none", "half"])
def test_a_short_list_does_not_count_as_the_batch(batch: Batch, listed: int) -> None:
    """As it is when the wait was marked as success before it had counted."""
    lag = {"listing_lag_halves": True} if listed else {}
    batch.api.configure(listing_lag_seconds=600, **lag)
    batch = Batch(batch.api, batch.folder)
    batch.refusal(
        f"Extend lists {listed} of the 4 runs of batch {batch.id}, so nothing .*clear the wait task"
    )
    assert batch.api.requests_to("GET /workflow_runs/{id}") == 0, "runs were fetched in vain"


def test_runs_that_are_known_to_be_gone_are_not_waited_for(batch: Batch) -> None:
    first, *_ = batch.api.runs(batch.id)
    batch.delete(first)
    assert batch.collect(expected=RUNS - 1).runs == RUNS - 1


def test_collected_runs_stay_after_extend_has_deleted_them(batch: Batch) -> None:
    """It keeps runs for some time only; who clears the run a year later must not lose what he has."""
    runs = batch.api.runs(batch.id)
    kept = batch.collect()
    content = Path(kept.uri.removeprefix("file://")).read_bytes()
    batch.delete(*runs[1:])
    assert batch.collect() == kept
    assert batch.collect(expected=1) == kept
    assert Path(kept.uri.removeprefix("file://")).read_bytes() == content
