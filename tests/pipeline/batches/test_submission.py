"""One chunk is one batch, after lost answers, kills at any line, retries and clears; the emulator judges."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from extend_pipeline.batches.ledger import WorkspaceLedger
from extend_pipeline.documents import OBJECT_DELETED, OBJECT_FORBIDDEN
from extend_pipeline.exceptions import PipelineSourceError
from extend_provider.client.models import BatchInput, FileInput
from extend_provider.client.pacing.limits import forget_limits
from extend_provider.exceptions import (
    ExtendAuthError,
    ExtendCreditsError,
    ExtendRateLimitError,
)
from extend_provider.hooks.extend import ExtendHook
from fixtures.pipeline.chunk_tasks import BATCH, Chunk, WorkerKilled


def test_a_chunk_becomes_one_batch_whose_inputs_carry_their_identity(chunk: Chunk) -> None:
    batch_id = chunk.submit()
    assert chunk.sent["run_count"] == 3
    with ExtendHook() as hook:
        runs = [hook.get_run(run.id) for page in hook.iter_run_pages(batch_id=batch_id) for run in page]
    assert {run.metadata["document_id"] for run in runs} == {document.id for document in chunk.documents}
    assert {run.metadata["source_uri"] for run in runs} == {document.uri for document in chunk.documents}
    assert chunk.submission() == chunk.documents


def test_a_retry_takes_up_the_batch_that_exists(chunk: Chunk) -> None:
    first, second = chunk.submit(), chunk.submit()
    assert first == second
    assert chunk.sent["run_count"] == 3
    assert chunk.api.requests_to(BATCH) == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "error", "accepted": True}, id="500 after acceptance"),
        pytest.param({"kind": "drop", "accepted": True}, id="connection dropped after acceptance"),
        pytest.param({"kind": "malformed", "accepted": True}, id="answer broken off"),
    ],
)
def test_the_batch_of_a_lost_answer_is_found(chunk: Chunk, fault: dict[str, Any]) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, **fault}])
    assert chunk.submit(grace=30) is not None
    assert chunk.api.requests_to(BATCH) == 1
    assert chunk.times_paid() == {1}
    assert chunk.sent["run_count"] == 3


def test_a_lost_answer_is_found_although_its_runs_are_listed_late(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True}], listing_lag_seconds=3)
    assert chunk.submit(grace=30) is not None
    assert chunk.times_paid() == {1}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "error", "accepted": False}, id="500 before acceptance"),
        pytest.param({"kind": "drop", "accepted": False}, id="connection dropped before acceptance"),
    ],
)
def test_a_batch_that_was_never_accepted_is_sent_again_only_after_its_absence_is_proven(
    chunk: Chunk, fault: dict[str, Any]
) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, **fault}])
    begun = dt.datetime.now(dt.UTC)
    assert chunk.submit(grace=1) is not None
    assert dt.datetime.now(dt.UTC) - begun > dt.timedelta(seconds=7)
    assert chunk.api.requests_to(BATCH) == 2
    assert chunk.times_paid() == {1}


@pytest.mark.parametrize("when", ["before the request", "before the record"])
def test_a_worker_killed_around_the_request_pays_once(
    chunk: Chunk, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ExtendHook.create_batch

    def killed(hook: ExtendHook, *args: Any, **kwargs: Any) -> str:
        if when == "before the record":
            create(hook, *args, **kwargs)
        raise WorkerKilled

    with monkeypatch.context() as patched:
        patched.setattr(ExtendHook, "create_batch", killed)
        with pytest.raises(WorkerKilled):
            chunk.submit()
    assert chunk.submit(grace=1) is not None
    assert chunk.times_paid() == {1}


def test_two_tasks_with_the_same_chunk_at_the_same_moment_send_it_once(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "slow", "seconds": 1}])
    rival = chunk.of_another_run()
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(lambda each: each.submit(grace=30), [chunk, rival])
    assert ours == theirs is not None
    assert chunk.times_paid() == {1}
    assert chunk.submission() == rival.submission() == chunk.documents


def test_a_rate_limited_batch_is_sent_later(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "rate_limit", "count": 2, "retry_after": 1}])
    assert chunk.submit() is not None
    assert chunk.api.requests_to(BATCH) == 3
    assert chunk.api.requests_to("GET /workflow_runs") == 0
    assert chunk.times_paid() == {1}


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every wait handed over to the triggerer, which reports at once."""
    monkeypatch.setattr("extend_provider.batch.submission.MAX_WORKER_WAIT", 0.0)
    monkeypatch.setattr("extend_provider.triggers.base.EARLIEST_REPORT_SECONDS", 0.0)


def deferred_submission(chunk: Chunk, **options: Any) -> TaskDeferred:
    """Submit in a worker that has to give its slot back; return what it hands over."""
    with pytest.raises(TaskDeferred) as deferred:
        dataclasses.replace(chunk, run=lambda operator, context: operator.execute(context)).submit(**options)
    return deferred.value


def test_a_rate_limit_is_waited_for_without_a_worker(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "rate_limit", "retry_after": 600}])
    begun = time.time()
    deferred = deferred_submission(chunk)
    assert deferred.trigger.serialize()[1]["at"] >= begun + 600
    assert chunk.api.requests_to(BATCH) == 1
    assert chunk.api.stats()["runs_created"] == {}
    before = set(chunk.batches.rglob("*"))
    with pytest.raises(ExtendRateLimitError, match="so nothing was sent"):
        chunk.submit()  # the same process does not even begin while Extend wants no runs
    written = {path.name.partition("-")[0] for path in set(chunk.batches.rglob("*")) - before}
    assert written <= {"documents"}, "no intent to send is on record"
    assert chunk.api.requests_to(BATCH) == 1
    forget_limits()  # a clear starts a new process
    assert chunk.submit() is not None, "whoever comes in between, e.g. after a clear, sends it"
    assert chunk.times_paid() == {1}


@pytest.mark.usefixtures("no_patience")
def test_a_rate_limit_that_never_ends_fails_the_attempt(
    chunk: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.batch.submission.SUBMISSION_ATTEMPTS", 3)
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "rate_limit", "retry_after": 0.1, "count": None}])
    with pytest.raises(ExtendRateLimitError):
        chunk.submit()
    assert chunk.api.requests_to(BATCH) == 3


@pytest.mark.usefixtures("no_patience")
def test_an_absence_is_proven_without_a_worker_and_a_clear_meanwhile_changes_nothing(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "error", "accepted": False}])
    deferred_submission(chunk, grace=600)
    age_of_intent(chunk, seconds=300)
    for cleared in (False, True):
        if cleared:
            chunk.task.clear(keeps_state=False)
        begun = time.time()
        deferred = deferred_submission(chunk, grace=600)
        proven_in = deferred.trigger.serialize()[1]["at"] - begun
        assert 150 <= proven_in < 300, "half as old again, and not before"
    assert chunk.api.requests_to(BATCH) == 1
    age_of_intent(chunk, seconds=700)
    assert chunk.submit(grace=600) is not None
    assert chunk.api.requests_to(BATCH) == 2
    assert chunk.times_paid() == {1}


@pytest.mark.usefixtures("no_patience")
def test_a_batch_that_is_listed_during_the_deferral_is_reused(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True}], listing_lag_seconds=2)
    assert chunk.submit(grace=30) is not None
    assert chunk.api.requests_to(BATCH) == 1
    assert chunk.times_paid() == {1}
    assert chunk.sent["run_count"] == 3


def age_of_intent(chunk: Chunk, *, seconds: float) -> None:
    """Let an intent have been written so long ago."""
    (path,) = chunk.batches.rglob("00001.intent.json")
    begun = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    path.write_text(json.dumps({**json.loads(path.read_text()), "begun_at": begun.isoformat()}))


def test_a_batch_that_the_workspace_refused_to_record_is_found_at_extend_and_paid_once(
    chunk: Chunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*args: Any) -> None:
        raise OSError("read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(WorkspaceLedger, "record", refuses)
        with pytest.raises(OSError, match="read-only"):
            chunk.submit()
    assert chunk.submit(grace=600) is not None
    assert chunk.api.requests_to(BATCH) == 1
    assert chunk.times_paid() == {1}
    assert chunk.sent["run_count"] == 3


def test_the_same_documents_for_another_version_are_another_batch(chunk: Chunk) -> None:
    first = chunk.submit()
    assert chunk.submit(version="draft") != first
    assert chunk.times_paid() == {2}


def test_other_batches_of_the_workflow_are_not_mistaken_for_ours(chunk: Chunk) -> None:
    with ExtendHook() as hook:
        other = hook.create_batch("workflow_mixed", [BatchInput(FileInput(text="x"), {"chunk": "another"})])
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True}])
    assert chunk.submit(grace=60) not in (None, other)


def test_looking_for_a_batch_costs_one_request_per_batch(chunk: Chunk) -> None:
    with ExtendHook() as hook:
        for number in range(5):
            hook.create_batch(
                "workflow_mixed", [BatchInput(FileInput(text="x"), {"chunk": str(number)})] * 20
            )
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True}])
    chunk.submit(grace=60)
    requests = chunk.api.stats()["requests"]
    assert requests["GET /workflow_runs"] == 1
    assert requests["GET /workflow_runs/{id}"] <= 6


def test_an_explicit_reprocessing_pays_again_and_only_once(chunk: Chunk) -> None:
    first = chunk.submit()
    other = chunk.of_another_run()
    again = other.submit(reprocess="all", repetition="dag/run 2/group")
    retried = other.submit(reprocess="all", repetition="dag/run 2/group")
    assert first != again == retried
    assert chunk.times_paid() == {2}


def test_another_run_with_the_same_documents_takes_up_the_same_batch(chunk: Chunk) -> None:
    first = chunk.submit()
    other = chunk.of_another_run()
    assert other.submit() == first
    assert other.submission() == chunk.documents


def test_a_deleted_document_ends_and_the_others_are_sent(chunk: Chunk) -> None:
    chunk.s3.client.delete_object(Bucket=chunk.bucket, Key="in/1.txt")
    assert chunk.submit() is not None
    assert chunk.sent["run_count"] == 2
    assert [document.reason for document in chunk.submission()] == [None, OBJECT_DELETED, None]


def test_a_chunk_whose_documents_are_all_deleted_sends_nothing(chunk: Chunk) -> None:
    for number in range(3):
        chunk.s3.client.delete_object(Bucket=chunk.bucket, Key=f"in/{number}.txt")
    assert chunk.submit() is None
    assert chunk.sent["run_count"] == 0
    assert chunk.api.requests_to(BATCH) == 0


def forbid(chunk: Chunk, *numbers: int) -> None:
    """Have documents of the chunk lie where nothing may be read any more."""
    for number in numbers:
        moved = f"s3://{chunk.s3.forbidden_bucket}/in/{number}.txt"
        chunk.documents[number] = dataclasses.replace(chunk.documents[number], uri=moved)


@pytest.mark.parametrize("deleted", [False, True], ids=["all forbidden", "all that is there"])
def test_a_chunk_that_cannot_be_read_fails_and_is_retried(chunk: Chunk, deleted: bool) -> None:
    forbid(chunk, *((1, 2) if deleted else (0, 1, 2)))
    chunk.s3.client.delete_object(Bucket=chunk.bucket, Key="in/0.txt")
    with pytest.raises(PipelineSourceError, match=r"s3://forbidden-inbox .* 'aws_default'") as caught:
        chunk.submit()
    assert caught.value.retryable
    assert chunk.api.stats()["requests"] == {}
    assert list(chunk.batches.rglob("*.intent.json")) == []


@pytest.mark.parametrize("alone", [False, True], ids=["among others", "alone"])
def test_a_single_unreadable_document_ends_and_stops_no_other(chunk: Chunk, alone: bool) -> None:
    forbid(chunk, 1)
    if alone:
        chunk.documents = chunk.documents[1:2]
    assert (chunk.submit() is None) == alone
    reasons = [document.reason for document in chunk.submission()]
    assert reasons == ([OBJECT_FORBIDDEN] if alone else [None, OBJECT_FORBIDDEN, None])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"kind": "error", "status": 401}, ExtendAuthError, id="wrong key"),
        pytest.param({"kind": "error", "status": 402}, ExtendCreditsError, id="no credits"),
    ],
)
def test_a_refused_batch_is_sent_when_the_cause_is_gone(
    chunk: Chunk, fault: dict[str, Any], error: type[Exception]
) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, **fault}])
    with pytest.raises(error):
        chunk.submit()
    chunk.api.configure(faults=[])
    assert chunk.submit() is not None
    assert chunk.times_paid() == {1}


def test_the_submission_after_a_refusal_is_written_down_under_the_next_number(chunk: Chunk) -> None:
    chunk.api.configure(no_credits=True)
    with pytest.raises(ExtendCreditsError):
        chunk.submit()
    chunk.api.configure(no_credits=False)
    assert chunk.submit() is not None
    intents = sorted(path.name for path in chunk.batches.rglob("*.intent.json"))
    assert intents == ["00001.intent.json", "00002.intent.json"]
