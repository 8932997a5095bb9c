"""Looking for a batch: what proves that it is not there, and what does not; with both hooks."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from extend_provider.batch.orphans import FoundBatch, IdempotencyKey, Orphan, find_orphan, find_orphan_async
from extend_provider.exceptions import ExtendError, ExtendNotFoundError, ExtendServerError
from fixtures.extend.api import ExtendApi
from fixtures.extend.hook_runner import HookRunner, set_connection

WORKFLOW = "workflow_invoices"
GET_RUN = "GET /workflow_runs/{id}"


@pytest.fixture(params=["sync", "async"])
def hooks(request: pytest.FixtureRequest) -> HookRunner:
    return HookRunner(request.param)


@pytest.fixture(autouse=True)
def connection(extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch) -> None:
    set_connection(monkeypatch, extend_api.url, key=extend_api.key)
    extend_api.configure(synthetic=True, hold=True)


def submit(extend_api: ExtendApi, mark: str, count: int = 3) -> str:
    inputs = [{"file": {"text": "t"}, "metadata": {"chunk": mark}}] * count
    return extend_api.submit_batch(inputs, workflow_id=WORKFLOW)


def look(
    hooks: HookRunner, *, workflow_id: str = WORKFLOW, begun: dt.datetime | None = None
) -> FoundBatch | None:
    """Look for the batch of the chunk "ours" whose submission was begun then, or a minute ago."""
    begun = begun or dt.datetime.now(dt.UTC) - dt.timedelta(seconds=60)
    orphan = Orphan(workflow_id, IdempotencyKey({"chunk": "ours"}), begun.isoformat(), begun.isoformat())
    find: Any = find_orphan if hooks.kind == "sync" else find_orphan_async
    found: FoundBatch | None = hooks.run(lambda hook: find(hook, orphan))
    return found


def test_an_orphan_is_found_among_other_batches(hooks: HookRunner, extend_api: ExtendApi) -> None:
    ours = submit(extend_api, "ours")
    submit(extend_api, "theirs")
    found = look(hooks)
    assert found is not None
    assert found.batch_id == ours


def test_latest_of_several_batches_with_the_key_ends_the_search(
    hooks: HookRunner, extend_api: ExtendApi
) -> None:
    for mark in ("ours", "theirs", "ours"):
        latest = submit(extend_api, mark)
    found = look(hooks)
    assert found is not None
    assert found.batch_id == latest
    assert extend_api.requests_to("GET /workflow_runs/{id}") == 1


def test_a_complete_list_proves_the_absence_of_an_orphan(hooks: HookRunner, extend_api: ExtendApi) -> None:
    assert look(hooks) is None
    submit(extend_api, "theirs")
    extend_api.configure(max_page_size=2)
    assert look(hooks) is None


@pytest.mark.parametrize("beyond", ["end", "circle", "error"])
def test_a_list_that_was_cut_short_proves_nothing(
    hooks: HookRunner, extend_api: ExtendApi, beyond: str
) -> None:
    submit(extend_api, "ours")
    submit(extend_api, "theirs", count=8)
    extend_api.configure(max_page_size=2, longest_list=4, beyond_longest_list=beyond)
    with pytest.raises(ExtendServerError) as failure:
        look(hooks)
    assert failure.value.retryable


def test_an_orphan_is_found_on_a_page_that_begins_with_older_runs(
    hooks: HookRunner, extend_api: ExtendApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may come in any order, and what is on it is newer than all that follows."""
    monkeypatch.setattr("extend_provider.batch.orphans.CLOCK_SKEW", dt.timedelta())
    submit(extend_api, "theirs", count=20)
    begun = dt.datetime.now(dt.UTC)
    begun = begun.replace(microsecond=begun.microsecond // 1000 * 1000)  # Extend's times have milliseconds
    ours = submit(extend_api, "ours", count=1)
    extend_api.configure(shuffle_pages=True)
    for _ in range(5):
        found = look(hooks, begun=begun)
        assert found is not None
        assert found.batch_id == ours


def test_it_is_found_although_the_clock_of_extend_is_behind_ours(
    hooks: HookRunner, extend_api: ExtendApi
) -> None:
    ours = submit(extend_api, "ours")
    submit(extend_api, "theirs")
    found = look(hooks, begun=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=4))
    assert found is not None
    assert found.batch_id == ours


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize("whose", ["ours", "theirs"])
def test_a_run_deleted_after_it_was_listed_is_skipped(
    hooks: HookRunner, extend_api: ExtendApi, status: int, whose: str
) -> None:
    ours = submit(extend_api, "ours")
    if whose == "theirs":
        submit(extend_api, "theirs", count=1)
    extend_api.configure(faults=[{"endpoint": GET_RUN, "kind": "error", "status": status}])
    found = look(hooks)
    assert found is not None
    assert found.batch_id == ours


def test_a_run_that_may_not_be_read_is_an_error(hooks: HookRunner, extend_api: ExtendApi) -> None:
    submit(extend_api, "ours")
    extend_api.configure(faults=[{"endpoint": GET_RUN, "kind": "error", "status": 403, "count": None}])
    with pytest.raises(ExtendError):
        look(hooks)


def test_the_empty_list_of_another_workspace_proves_nothing(hooks: HookRunner, extend_api: ExtendApi) -> None:
    with pytest.raises(ExtendNotFoundError, match="workflow_of_another_workspace"):
        look(hooks, workflow_id="workflow_of_another_workspace")
