"""100,000 runs: they fit in memory, a page stays cheap, and a walk over the list finds each of them once."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import requests

from fixtures.extend_api import ExtendApi, running

BATCHES, BATCH_SIZE = 100, 1000
RUNS = BATCHES * BATCH_SIZE
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def full() -> Iterator[tuple[ExtendApi, list[str]]]:
    """An emulator of its own with 100,000 settled runs, and the ids of their batches."""
    with running("--synthetic") as api:
        batch_ids = [api.submit_batch(_inputs(batch)) for batch in range(BATCHES)]
        deadline = time.monotonic() + 180
        while api.stats()["runs"].get("PROCESSED") != RUNS:
            assert time.monotonic() < deadline, api.stats()["runs"]
            time.sleep(0.2)
        yield api, batch_ids


def _inputs(batch: int) -> list[dict[str, Any]]:
    """Return inputs of the size that the pipeline sends: presigned URLs and metadata."""
    return [
        {
            "file": {"url": f"http://127.0.0.1:9/inbox/{batch:03}/{n:04}.pdf?X-Amz-Signature={'a' * 200}"},
            "metadata": {"document_id": f"{batch:016}{n:016}", "source_uri": f"s3://inbox/{batch}/{n}.pdf"},
        }
        for n in range(BATCH_SIZE)
    ]


def _seconds(api: ExtendApi, **params: Any) -> float:
    """Return how long one page takes."""
    started = time.perf_counter()
    answer = api.call("GET", "/workflow_runs", params=params)
    elapsed = time.perf_counter() - started
    assert answer.status_code == 200
    return elapsed


def test_a_hundred_thousand_runs_take_less_than_half_a_gigabyte(full: tuple[ExtendApi, list[str]]) -> None:
    api, _ = full
    assert psutil.Process(api.pid).memory_info().rss < 500 * MEGABYTE


@pytest.mark.parametrize("order", [{"sortBy": "createdAt", "sortDir": "asc"}, {}], ids=["created", "updated"])
def test_a_page_of_a_thousand_among_a_hundred_thousand_is_cheap(
    full: tuple[ExtendApi, list[str]], order: dict[str, str]
) -> None:
    api, batch_ids = full
    pages = [_seconds(api, batchId=batch_ids[n], maxPageSize=1000, **order) for n in range(0, 100, 5)]
    assert statistics.median(pages) < 0.15


def test_a_page_costs_the_same_at_the_end_of_the_list_as_at_its_head(
    full: tuple[ExtendApi, list[str]],
) -> None:
    api, batch_ids = full
    first = [_seconds(api, batchId=batch_ids[0], sortBy="createdAt") for _ in range(15)]
    last = [_seconds(api, batchId=batch_ids[-1], sortBy="createdAt") for _ in range(15)]
    assert statistics.median(last) < 5 * statistics.median(first) + 0.01


def test_a_walk_finds_each_run_once(full: tuple[ExtendApi, list[str]]) -> None:
    api, _ = full
    session = requests.Session()
    session.headers.update({"Authorization": f"Bearer {api.key}", "x-extend-api-version": "2026-02-09"})
    params = {"sortBy": "createdAt", "sortDir": "asc", "maxPageSize": "1000"}
    ids: list[str] = []
    while True:
        page = json.loads(session.get(f"{api.url}/workflow_runs", params=params, timeout=30).content)
        ids += [run["id"] for run in page["data"]]
        if "nextPageToken" not in page:
            break
        params["nextPageToken"] = page["nextPageToken"]
    assert len(ids) == len(set(ids)) == RUNS
