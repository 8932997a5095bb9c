"""Two tasks that wait for the same chunk at the same moment, and one that comes back: one batch per round."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import TaskDeferred

from extend_pipeline.batches.reservations import ChunkReference
from extend_pipeline.dag.collect import collect_chunk
from extend_pipeline.dag.submit import SubmitChunkOperator
from extend_pipeline.dag.tasks import load_chunk
from extend_pipeline.dag.wait import WaitChunkOperator
from extend_pipeline.documents import Document
from extend_pipeline.exceptions import PipelineInputError
from extend_pipeline.settings import Settings, write_settings
from extend_provider.batch.polling import Outcome, PollResult
from extend_provider.batch.progress import RunCounter
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.extend import ExtendHook
from fixtures.chunks import planned
from fixtures.extend_api import ExtendApi
from fixtures.s3 import S3
from fixtures.task_support import TaskStateStore

BATCH = "POST /workflow_runs/batch"


@dataclasses.dataclass
class Waiting:
    """A chunk of four documents that was sent, and one task that waits for it."""

    api: ExtendApi
    chunk: ChunkReference
    xcoms: dict[str, Any] = dataclasses.field(default_factory=dict)
    store: TaskStateStore = dataclasses.field(default_factory=TaskStateStore)

    @property
    def context(self) -> Any:
        ti = SimpleNamespace(
            dag_id="dag",
            run_id="run",
            task_id="wait",
            map_index=0,
            try_number=1,
            max_tries=0,
            xcom_push=lambda key, value: self.xcoms.update({key: value}),
        )
        return {"ti": ti, "task_state_store": self.store}

    def submit(self) -> str:
        batch_id = SubmitChunkOperator(task_id="submit", chunk=self.chunk).execute(self.context)
        assert batch_id is not None
        return batch_id

    def operator(self) -> WaitChunkOperator:
        return WaitChunkOperator(
            task_id="wait", chunk=self.chunk, batch_id=self.submit(), run_count=4, timeout=3600
        )

    def collect(self) -> list[dict[str, Any]]:
        return collect_chunk(self.chunk, self.submit())

    def execute(self) -> dict[str, Any]:
        """Begin to wait; return what the trigger was told."""
        return deferred(lambda: self.operator().execute(self.context))

    def complete(self, trigger: dict[str, Any], outcome: Outcome = Outcome.DONE) -> dict[str, Any]:
        """Take up that the batch has settled; return what the next trigger was told, or the counts."""
        self.api.runs(trigger["batch_id"])
        counter = RunCounter(trigger["run_count"])
        with ExtendHook() as hook:
            for page in hook.iter_run_pages(batch_id=trigger["batch_id"]):
                counter.add(page)
        ended = PollResult(
            outcome,
            "settled",
            counter.progress().as_dict(),
            batch_id=trigger["batch_id"],
            policy=trigger["policy"],
        )
        return deferred(lambda: self.operator().execute_complete(self.context, ended.as_event()))


def deferred(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return call()
    except TaskDeferred as handed_over:
        arguments: dict[str, Any] = handed_over.trigger.serialize()[1]
        return arguments


@pytest.fixture
def waiting(extend_api: ExtendApi, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    monkeypatch.setenv(
        "AIRFLOW_CONN_EXTEND_DEFAULT",
        extend_api.connection_json(timeout=2, acceptance_window=2, listing_grace=1),
    )
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())
    bucket = s3.bucket("inbox")
    documents = []
    for number in range(4):
        etag = s3.put(bucket, f"in/{number}.txt", f"Receipt\nTotal: {number}.00 EUR\n".encode())
        documents.append(Document(f"s3://{bucket}/in/{number}.txt", etag, 20, "2026-11-21T00:00:00+00:00"))
    home = ObjectStoragePath(f"file://{tmp_path}/files/run")
    settings = Settings.from_rendered(
        {"source": f"s3://{bucket}/in/", "workflow_id": "workflow_mixed", "workspace": str(home.parent)}
    )
    write_settings(home, settings)
    chunk = planned(settings, home, documents)
    extend_api.configure(
        outcomes=[
            {"status": "FAILED", "reason": "INTERNAL_ERROR", "name_glob": "[01].txt", "first_attempts": 1}
        ]
    )
    return Waiting(extend_api, chunk)


def times_paid(api: ExtendApi) -> list[int]:
    return sorted(api.stats()["runs_created"].values())


def test_two_tasks_that_see_the_same_failures_send_them_once(waiting: Waiting) -> None:
    rival = dataclasses.replace(waiting, xcoms={}, store=TaskStateStore())
    first = waiting.execute()
    waiting.api.runs(first["batch_id"])
    waiting.api.configure(faults=[{"endpoint": BATCH, "kind": "slow", "seconds": 1}])
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(lambda each: each.complete(first), [waiting, rival])
    assert ours == theirs
    assert (ours["run_count"], ours["policy"]) == (2, first["policy"])
    assert times_paid(waiting.api) == [1, 1, 2, 2]
    assert waiting.complete(ours)["by_status"] == {"PROCESSED": 2}
    assert waiting.api.requests_to(BATCH) == 2


def test_a_task_that_comes_late_goes_on_where_the_other_one_is(waiting: Waiting) -> None:
    first = waiting.execute()
    second = waiting.complete(first)
    assert waiting.complete(first) == second
    assert waiting.complete(waiting.execute())["batch_id"] == second["batch_id"]
    assert times_paid(waiting.api) == [1, 1, 2, 2]


def test_clearing_a_chunk_that_has_ended_sends_nothing(waiting: Waiting) -> None:
    second = waiting.complete(waiting.execute())
    waiting.complete(second)
    again = waiting.complete(waiting.execute())
    assert again["batch_id"] == second["batch_id"]
    assert waiting.complete(again)["by_status"] == {"PROCESSED": 2}
    assert times_paid(waiting.api) == [1, 1, 2, 2]


def test_runs_that_were_cancelled_before_the_chunk_is_taken_up_are_sent_again(
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
    assert times_paid(waiting.api) == [2, 2, 2, 2]


def test_missing_runs_are_waited_for_until_the_trigger_gives_them_up(waiting: Waiting) -> None:
    waiting.api.configure(outcomes=[])
    first = waiting.execute()
    run, *_ = waiting.api.runs(first["batch_id"])
    waiting.api.call("DELETE", f"/workflow_runs/{run['id']}")
    assert waiting.complete(first)["batch_id"] == first["batch_id"]
    assert times_paid(waiting.api) == [1, 1, 1, 1]
    second = waiting.complete(first, Outcome.RUNS_MISSING)
    assert second["run_count"] == 1
    assert times_paid(waiting.api) == [1, 1, 1, 2]


def test_runs_that_are_deleted_after_the_verdict_count_as_gone_when_the_wait_is_cleared(
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
    assert times_paid(waiting.api) == [1, 1, 2, 2]


@pytest.mark.parametrize(("submission", "parts"), [("documents.jsonl", None), (None, [])], ids=str)
def test_what_was_marked_as_success_before_it_was_through_does_not_land(
    waiting: Waiting, submission: str | None, parts: list[dict[str, Any]] | None
) -> None:
    with pytest.raises(PipelineInputError, match="marked as success before it was through"):
        load_chunk(waiting.chunk, submission, parts)


def test_looking_at_a_round_costs_one_listing_and_one_request_per_failure(waiting: Waiting) -> None:
    first = waiting.execute()
    waiting.api.runs(first["batch_id"])
    before = waiting.api.stats()["requests"]
    waiting.complete(first)
    after = waiting.api.stats()["requests"]
    helper = {"GET /workflow_runs": 2, "GET /workflow_runs/{id}": 4}  # of this test's own looks
    cost = {key: after[key] - before[key] - helper[key] for key in helper}
    assert cost == {"GET /workflow_runs": 1, "GET /workflow_runs/{id}": 2}


def test_after_an_outage_of_the_triggerer_the_round_is_taken_up_as_if_it_had_been_reported(
    waiting: Waiting,
) -> None:
    first = waiting.execute()
    waiting.api.runs(first["batch_id"])
    error = {"error": TriggerFailureReason.TRIGGER_TIMEOUT}
    resumed = waiting.operator()
    second = deferred(lambda: resumed.resume_execution(TRIGGER_FAIL_REPR, error, waiting.context))
    assert second["batch_id"] != first["batch_id"]
    assert second["run_count"] == 2
    assert times_paid(waiting.api) == [1, 1, 2, 2]
