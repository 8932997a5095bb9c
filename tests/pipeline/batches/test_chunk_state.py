"""Two tasks that wait for the same chunk at the same moment, and one that comes back: one batch per round."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason

from extend_pipeline.batches.chunk_state import ChunkRound
from extend_pipeline.batches.collection import collect_chunk
from extend_pipeline.dag.tasks import load_chunk
from extend_pipeline.dag.wait import WaitChunkOperator
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import read_settings, write_settings
from extend_provider.batch.waiting.polling import Outcome
from extend_provider.exceptions import ExtendCreditsError, ExtendError
from fixtures.pipeline.chunk_tasks import BATCH, Waiting
from fixtures.tasks.task_support import TaskStateStore


def test_two_tasks_that_see_the_same_failures_send_them_once(waiting: Waiting) -> None:
    rival = dataclasses.replace(waiting, xcoms={}, store=TaskStateStore())
    first = waiting.execute()
    waiting.api.runs(first["batch_id"])
    waiting.api.configure(faults=[{"endpoint": BATCH, "kind": "slow", "seconds": 1}])
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(lambda each: each.complete(first), [waiting, rival])
    assert ours == theirs
    assert (ours["run_count"], ours["policy"]) == (2, first["policy"])
    assert waiting.times_paid() == [1, 1, 2, 2]
    assert waiting.complete(ours)["by_status"] == {"PROCESSED": 2}
    assert waiting.api.requests_to(BATCH) == 2


def test_a_later_task_continues_the_round_of_the_other_task(waiting: Waiting) -> None:
    first = waiting.execute()
    second = waiting.complete(first)
    assert waiting.complete(first) == second
    assert waiting.complete(waiting.execute())["batch_id"] == second["batch_id"]
    assert waiting.times_paid() == [1, 1, 2, 2]


def test_a_round_that_extend_has_refused_is_due_by_the_settings_of_the_run_that_comes_next(
    waiting: Waiting,
) -> None:
    first = waiting.execute()
    waiting.api.runs(first["batch_id"])
    waiting.api.configure(no_credits=True)
    with pytest.raises(ExtendCreditsError):
        waiting.complete(first)
    assert ChunkRound.latest(waiting.chunk).number == 2
    folder = ObjectStoragePath(waiting.chunk["folder"])
    write_settings(folder, read_settings(folder).model_copy(update={"max_attempts": 1}))
    assert not ChunkRound.first(waiting.chunk).has_next()
    assert ChunkRound.latest(waiting.chunk).number == 1


def test_clearing_a_chunk_that_has_ended_sends_nothing(waiting: Waiting) -> None:
    second = waiting.complete(waiting.execute())
    waiting.complete(second)
    again = waiting.complete(waiting.execute())
    assert again["batch_id"] == second["batch_id"]
    assert waiting.complete(again)["by_status"] == {"PROCESSED": 2}
    assert waiting.times_paid() == [1, 1, 2, 2]


def test_a_wait_that_begins_after_its_batch_has_settled_inspects_it_at_once(waiting: Waiting) -> None:
    first = waiting.submit()
    waiting.api.runs(first)
    second = waiting.deferred(lambda: waiting.operator().execute(waiting.context))
    assert second["batch_id"] != first
    assert second["run_count"] == 2
    waiting.api.runs(second["batch_id"])
    again = waiting.deferred(lambda: waiting.operator().execute(waiting.context))
    assert again["batch_id"] == second["batch_id"], "only the first round is looked at"
    assert waiting.complete(again)["by_status"] == {"PROCESSED": 2}
    assert waiting.times_paid() == [1, 1, 2, 2]


def test_a_wait_that_extend_contradicts_is_left_to_the_trigger(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = waiting.submit()
    waiting.api.runs(first)
    monkeypatch.setattr(WaitChunkOperator, "_inspect", lambda *_, **__: None)
    listed = waiting.api.requests_to("GET /workflow_runs")
    arguments = waiting.deferred(lambda: waiting.operator().execute(waiting.context))
    assert arguments["batch_id"] == first
    assert arguments["policy"]["by_webhooks"] is False
    assert waiting.api.requests_to("GET /workflow_runs") == listed + 1


def test_runs_that_were_cancelled_before_the_chunk_is_reattached_are_sent_again(
    waiting: Waiting,
) -> None:
    waiting.api.configure(hold=True, outcomes=[])
    batch_id = waiting.submit()
    listed = waiting.api.call("GET", "/workflow_runs", params={"batchId": batch_id}).json()["data"]
    for run in listed:
        waiting.api.call("POST", f"/workflow_runs/{run['id']}/cancel")
    waiting.api.configure(hold=False)
    second = waiting.complete(waiting.execute())
    assert second["run_count"] == 4
    assert waiting.times_paid() == [2, 2, 2, 2]


def test_missing_runs_are_waited_for_until_the_trigger_reports_short(waiting: Waiting) -> None:
    waiting.api.configure(outcomes=[])
    first = waiting.execute()
    run, *_ = waiting.api.runs(first["batch_id"])
    waiting.api.call("DELETE", f"/workflow_runs/{run['id']}")
    assert waiting.complete(first)["batch_id"] == first["batch_id"]
    assert waiting.times_paid() == [1, 1, 1, 1]
    second = waiting.complete(first, Outcome.RUNS_MISSING)
    assert second["run_count"] == 1
    assert waiting.times_paid() == [1, 1, 1, 2]


def test_runs_deleted_after_the_round_has_settled_count_as_gone_when_the_wait_is_cleared(
    waiting: Waiting,
) -> None:
    first = waiting.execute()
    second = waiting.complete(first)
    waiting.complete(second)
    *_, fine = waiting.api.runs(first["batch_id"])
    waiting.api.call("DELETE", f"/workflow_runs/{fine['id']}")
    with pytest.raises(ExtendError, match="lists 3 of the 4 runs"):
        waiting.collect()
    again = waiting.complete(waiting.execute(), Outcome.RUNS_MISSING)
    assert again["batch_id"] == second["batch_id"]
    waiting.complete(again)
    assert [part["runs"] for part in waiting.collect()] == [3, 2]
    assert waiting.times_paid() == [1, 1, 2, 2]


def test_a_wait_whose_batch_record_is_deleted_fails_and_sends_nothing(waiting: Waiting) -> None:
    wait = waiting.operator()
    for record in Path(ChunkRound.first(waiting.chunk).folder.path).glob("*.json"):
        record.unlink()
    with pytest.raises(ExtendError, match=r"is not recorded in .* Nothing was sent again"):
        wait.execute(waiting.context)
    assert waiting.times_paid() == [1, 1, 1, 1]


@pytest.mark.parametrize("handed_over", [None, "batch_of_an_older_release"], ids=str)
def test_a_task_that_was_marked_as_success_too_early_hands_nothing_over(
    waiting: Waiting, handed_over: Any
) -> None:
    wait = waiting.operator()
    wait.chunk = handed_over
    with pytest.raises(PipelineInputError, match=r"'submit' of this chunk .* not sent again"):
        wait.execute(waiting.context)
    with pytest.raises(PipelineInputError, match=r"'submit' of this chunk .* not sent again"):
        wait.resume_execution("execute_complete", {"event": {}}, waiting.context)
    with pytest.raises(PipelineInputError, match=r"'submit' of this chunk .* not sent again"):
        collect_chunk(handed_over)
    with pytest.raises(PipelineInputError, match=r"'collect' of this chunk .* not sent again"):
        load_chunk(handed_over)


def test_looking_at_a_round_costs_one_listing_and_one_request_per_failure(waiting: Waiting) -> None:
    first = waiting.execute()
    waiting.api.runs(first["batch_id"])
    before = waiting.api.stats()["requests"]
    waiting.complete(first)
    after = waiting.api.stats()["requests"]
    helper = {"GET /workflow_runs": 2, "GET /workflow_runs/{id}": 4}  # of this test's own looks
    cost = {key: after[key] - before[key] - helper[key] for key in helper}
    assert cost == {"GET /workflow_runs": 1, "GET /workflow_runs/{id}": 2}


def test_a_round_is_continued_after_an_outage_of_the_triggerer(
    waiting: Waiting,
) -> None:
    first = waiting.execute()
    waiting.api.runs(first["batch_id"])
    error = {"error": TriggerFailureReason.TRIGGER_TIMEOUT}
    resumed = waiting.operator()
    second = waiting.deferred(lambda: resumed.resume_execution(TRIGGER_FAIL_REPR, error, waiting.context))
    assert second["batch_id"] != first["batch_id"]
    assert second["run_count"] == 2
    assert waiting.times_paid() == [1, 1, 2, 2]
