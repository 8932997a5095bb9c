"""Lists of runs: filters, order, pages, and how a list can mislead a reader."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import requests

from fixtures.extend.api import ExtendApi
from sandbox.extend_api.state.store import Order


def _inputs(count: int) -> list[dict[str, Any]]:
    return [{"file": {"text": f"text {n}", "name": f"{n:03}.txt"}} for n in range(count)]


def _pages(extend_api: ExtendApi, **params: Any) -> list[list[str]]:
    """Read a list to its end and return each page's file names."""
    pages = []
    token: str | None = None
    while True:
        asked = {**params, **({"nextPageToken": token} if token else {})}
        answer = extend_api.call("GET", "/workflow_runs", params=asked).json()
        pages.append([run["files"][0]["name"] for run in answer["data"]])
        token = answer.get("nextPageToken")
        if token is None:
            return pages


@pytest.fixture
def batch_id(extend_api: ExtendApi) -> str:
    """A batch of 25 runs that stay PENDING."""
    extend_api.configure(hold=True, synthetic=True)
    return extend_api.submit_batch(_inputs(25))


def test_page_has_ten_runs_by_default(extend_api: ExtendApi, batch_id: str) -> None:
    assert [len(page) for page in _pages(extend_api)] == [10, 10, 5]
    assert [len(page) for page in _pages(extend_api, maxPageSize=1000)] == [25]


def test_list_is_sorted_as_requested_and_by_last_update_by_default(
    extend_api: ExtendApi, batch_id: str
) -> None:
    names = [f"{n:03}.txt" for n in range(25)]
    ascending = list(itertools.chain(*_pages(extend_api, sortBy="createdAt", sortDir="asc", maxPageSize=7)))
    descending = list(itertools.chain(*_pages(extend_api, sortBy="createdAt", maxPageSize=7)))
    assert ascending == names
    assert descending == names[::-1]
    oldest = extend_api.call("GET", "/workflow_runs", params={"sortDir": "asc"}).json()["data"][0]
    extend_api.call("POST", f"/workflow_runs/{oldest['id']}", json={"name": "touched"})
    assert _pages(extend_api)[0][0] == "000.txt"


def test_list_sorted_by_update_shifts_between_pages(extend_api: ExtendApi, batch_id: str) -> None:
    first = extend_api.call("GET", "/workflow_runs", params={"maxPageSize": 20}).json()
    unread = extend_api.call("GET", "/workflow_runs", params={"sortDir": "asc", "maxPageSize": 1}).json()
    extend_api.call("POST", f"/workflow_runs/{unread['data'][0]['id']}", json={"name": "touched"})
    params = {"maxPageSize": 20, "nextPageToken": first["nextPageToken"]}
    second = extend_api.call("GET", "/workflow_runs", params=params).json()
    assert len(first["data"]) + len(second["data"]) == 24


def test_filters_select_runs(extend_api: ExtendApi, batch_id: str) -> None:
    other = extend_api.submit_batch(_inputs(3), "workflow_receipts")
    run = extend_api.call("GET", "/workflow_runs", params={"batchId": other}).json()["data"][0]
    extend_api.call("POST", f"/workflow_runs/{run['id']}/cancel")

    def count(**params: str) -> int:
        return sum(len(page) for page in _pages(extend_api, maxPageSize=1000, **params))

    assert count() == 28
    assert count(batchId=batch_id) == 25
    assert count(batchId="batch_nothing") == 0
    assert count(workflowId="workflow_receipts") == 3
    assert count(workflowId="workflow_receipts", batchId=batch_id) == 0
    assert count(status="PENDING") == 27
    assert count(fileNameContains="02") == 7
    assert count(fileNameContains="02", batchId=other) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"maxPageSize": 0},
        {"maxPageSize": 1001},
        {"maxPageSize": "many"},
        {"sortBy": "name"},
        {"sortDir": "up"},
        {"status": "DONE"},
    ],
    ids=str,
)
def test_wrong_query_is_refused(extend_api: ExtendApi, params: dict[str, Any]) -> None:
    answer = extend_api.call("GET", "/workflow_runs", params=params)
    assert answer.status_code == 400
    assert answer.json()["message"].endswith(f"; Path: {next(iter(params))}")


def test_page_size_above_the_limit_is_capped_if_set(extend_api: ExtendApi, batch_id: str) -> None:
    extend_api.configure(page_size_over_limit="cap", max_page_size=4)
    assert [len(page) for page in _pages(extend_api, maxPageSize=5000)] == [4] * 6 + [1]
    assert len(_pages(extend_api)[0]) == 4


def test_page_token_works_only_for_its_own_query(extend_api: ExtendApi, batch_id: str) -> None:
    token = extend_api.call("GET", "/workflow_runs", params={"batchId": batch_id}).json()["nextPageToken"]
    assert len(token.split(":")) == 2
    for params in (
        {"nextPageToken": token},
        {"nextPageToken": token, "batchId": batch_id, "sortDir": "asc"},
        {"nextPageToken": "bm9uc2Vuc2U=:eA==", "batchId": batch_id},
        {"nextPageToken": "nonsense", "batchId": batch_id},
    ):
        assert extend_api.call("GET", "/workflow_runs", params=params).status_code == 400, params
    extend_api.configure(invalid_page_token="restart")
    restarted = extend_api.call("GET", "/workflow_runs", params={"nextPageToken": "nonsense"}).json()["data"]
    assert [run["files"][0]["name"] for run in restarted] == _pages(extend_api)[0]


@pytest.mark.parametrize("setting", ["absent", "null"])
def test_last_page_has_no_token(extend_api: ExtendApi, batch_id: str, setting: str) -> None:
    extend_api.configure(last_page_token=setting)
    answer = extend_api.call("GET", "/workflow_runs", params={"maxPageSize": 1000}).json()
    assert ("nextPageToken" in answer) is (setting == "null")
    assert answer.get("nextPageToken") is None


@pytest.mark.parametrize(
    ("halves", "at_once"), [pytest.param(False, 0, id="all"), pytest.param(True, 12, id="the second half")]
)
def test_runs_are_listed_only_after_the_lag(extend_api: ExtendApi, halves: bool, at_once: int) -> None:
    extend_api.configure(listing_lag_seconds=1, listing_lag_halves=halves, synthetic=True)
    started = time.monotonic()
    batch_id = extend_api.submit_batch(_inputs(24))
    assert sum(len(page) for page in _pages(extend_api, batchId=batch_id)) == at_once
    while sum(len(page) for page in _pages(extend_api, batchId=batch_id)) < 24:
        assert time.monotonic() - started < 10
    assert time.monotonic() - started >= 1


def test_second_half_of_a_batch_can_be_listed_later(extend_api: ExtendApi) -> None:
    extend_api.configure(listing_lag_seconds=0.5, listing_lag_second_half_seconds=1, synthetic=True)
    started = time.monotonic()
    batch_id = extend_api.submit_batch(_inputs(24))
    seen: dict[int, float] = {}
    while (count := sum(len(page) for page in _pages(extend_api, batchId=batch_id))) < 24:
        seen.setdefault(count, time.monotonic() - started)
        assert time.monotonic() - started < 10
    assert list(seen) == [0, 12]
    assert seen[12] >= 0.5
    assert time.monotonic() - started >= 1.5


def test_pages_can_repeat_and_reorder_runs(extend_api: ExtendApi, batch_id: str) -> None:
    extend_api.configure(repeat_between_pages=3)
    ordered = {"sortBy": "createdAt", "sortDir": "asc", "maxPageSize": 10}
    pages = _pages(extend_api, **ordered)
    names = [f"{n:03}.txt" for n in range(25)]
    assert pages == [names[:10], names[7:20], names[17:25]]
    assert _pages(extend_api, sortBy="createdAt", maxPageSize=10)[1] == names[::-1][7:20]
    extend_api.configure(repeat_between_pages=0, shuffle_pages=True)
    shuffled = _pages(extend_api, **ordered)
    assert shuffled != [names[:10], names[10:20], names[20:]]
    assert [sorted(page) for page in shuffled] == [names[:10], names[10:20], names[20:]]


def test_files_are_listed_by_page_and_name(extend_api: ExtendApi) -> None:
    for n in range(12):
        extend_api.call("POST", "/files/upload", files={"file": (f"{n:02}.txt", b"x")})
    first = extend_api.call("GET", "/files").json()
    second = extend_api.call("GET", "/files", params={"nextPageToken": first["nextPageToken"]}).json()
    names = [file["name"] for file in first["data"] + second["data"]]
    assert names == [f"{n:02}.txt" for n in range(11, -1, -1)]
    assert "nextPageToken" not in second
    ascending = extend_api.call("GET", "/files", params={"sortDir": "asc", "nameContains": "1"}).json()
    assert [file["name"] for file in ascending["data"]] == ["01.txt", "10.txt", "11.txt"]


def test_order_is_walked_both_ways_after_removals() -> None:
    order = Order()
    for key in range(10):
        order.append(key)
    for key in (0, 4, 9):
        order.remove(key)
    assert list(order.walk(ascending=True, after=None)) == [1, 2, 3, 5, 6, 7, 8]
    assert list(order.walk(ascending=True, after=4)) == [5, 6, 7, 8]
    assert list(order.walk(ascending=False, after=5)) == [3, 2, 1]
    assert list(order.walk(ascending=False, after=None)) == [8, 7, 6, 5, 3, 2, 1]


def test_list_can_be_longer_than_the_server_returns(extend_api: ExtendApi, batch_id: str) -> None:
    params = {"sortBy": "createdAt", "maxPageSize": 10}

    def page(token: str | None = None) -> requests.Response:
        return extend_api.call("GET", "/workflow_runs", params={**params, "nextPageToken": token})

    extend_api.configure(longest_list=20)
    assert [len(page) for page in _pages(extend_api, **params)] == [10, 10]
    extend_api.configure(beyond_longest_list="circle")
    token = page(page().json()["nextPageToken"]).json()["nextPageToken"]
    assert page(token).json()["nextPageToken"] == token
    extend_api.configure(beyond_longest_list="error")
    assert page(token).status_code == 500
    extend_api.configure(longest_list=25)
    assert [len(page) for page in _pages(extend_api, **params)] == [10, 10, 5]
