"""20,000 runs: each takes little memory, a page stays cheap, and a walk over the list finds each run once."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import requests

from fixtures.extend.api import ExtendApi, running

BATCHES, BATCH_SIZE = 20, 1000
RUNS = BATCHES * BATCH_SIZE
#: A hundred thousand runs have to fit into half a gigabyte.
BYTES_PER_RUN = 4_500
#: Above any multiple of a time: what a busy machine adds to it.
SLACK_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Full:
    """An emulator of its own with 20,000 settled runs.

    :param empty_bytes: its memory with the first batch alone; ``first_seconds`` is a page's time then.
    """

    api: ExtendApi
    batch_ids: list[str]
    empty_bytes: int
    first_seconds: float


@pytest.fixture(scope="module")
def full() -> Iterator[Full]:
    with running("--synthetic") as api:
        batch_ids = [api.submit_batch(_inputs(0))]
        _wait_until_processed(api, BATCH_SIZE)
        first = statistics.median(_seconds(api, batchId=batch_ids[0], maxPageSize=1000) for _ in range(5))
        memory = psutil.Process(api.pid).memory_info().rss
        batch_ids += [api.submit_batch(_inputs(batch)) for batch in range(1, BATCHES)]
        _wait_until_processed(api, RUNS)
        yield Full(api, batch_ids, memory, first)


def _wait_until_processed(api: ExtendApi, count: int) -> None:
    deadline = time.monotonic() + 180
    while api.stats()["runs"].get("PROCESSED") != count:
        assert time.monotonic() < deadline, api.stats()["runs"]
        time.sleep(0.2)


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


def test_hundred_thousand_runs_need_less_than_half_a_gigabyte(full: Full) -> None:
    grown = psutil.Process(full.api.pid).memory_info().rss - full.empty_bytes
    assert grown / (RUNS - BATCH_SIZE) < BYTES_PER_RUN


@pytest.mark.parametrize("order", [{"sortBy": "createdAt", "sortDir": "asc"}, {}], ids=["created", "updated"])
def test_page_of_a_batch_costs_no_more_among_many_batches(full: Full, order: dict[str, str]) -> None:
    seconds = [_seconds(full.api, batchId=each, maxPageSize=1000, **order) for each in full.batch_ids[::3]]
    assert statistics.median(seconds) < 3 * full.first_seconds + SLACK_SECONDS


def test_page_costs_the_same_at_the_start_and_the_end_of_a_list(full: Full) -> None:
    first, last = (
        statistics.median(_seconds(full.api, batchId=each, sortBy="createdAt") for _ in range(9))
        for each in (full.batch_ids[0], full.batch_ids[-1])
    )
    assert last < 5 * first + SLACK_SECONDS


def test_listing_finds_each_run_once(full: Full) -> None:
    api = full.api
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
