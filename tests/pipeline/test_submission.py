"""One chunk is one batch, after lost answers, kills at any line, retries and clears; the emulator judges."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batch_ledger import batch_key
from extend_pipeline.documents import OBJECT_DELETED, Document
from extend_pipeline.planning import write_plan
from extend_pipeline.run import write_settings
from extend_pipeline.settings import Settings
from extend_pipeline.submission import SubmitChunkOperator
from extend_pipeline.warehouse.records import Candidate
from extend_pipeline.workspace import read_documents
from extend_provider.exceptions import ExtendAuthError, ExtendCreditsError, ExtendUnclearSubmissionError
from extend_provider.hooks.extend import ExtendHook
from extend_provider.models import BatchInput, FileInput
from fixtures.extend_api import ExtendApi
from fixtures.s3 import S3

BATCH = "POST /workflow_runs/batch"


class WorkerKilled(BaseException):
    """Stands for SIGKILL: nothing in the operator catches it, nothing after it runs."""


@dataclasses.dataclass
class Chunk:
    """A chunk of three documents, ready to be sent, and what is asked of the stand-ins afterwards."""

    api: ExtendApi
    s3: S3
    bucket: str
    folder: ObjectStoragePath
    documents: list[Document]
    connect: Callable[[float], None]
    xcoms: dict[str, Any] = dataclasses.field(default_factory=dict)

    def submit(self, *, grace: float = 0.0, **overrides: Any) -> str | None:
        """Run the task once, as one attempt; an absence is believed ``grace`` seconds after the request."""
        self.connect(grace)
        settings = Settings.from_rendered(
            {
                "source": f"s3://{self.bucket}/in/",
                "workflow_id": "workflow_mixed",
                "workspace": str(self.folder.parent),
                **overrides,
            }
        )
        write_settings(self.folder, settings)
        plan = write_plan(
            [Candidate(document, None) for document in self.documents],
            self.folder,
            key_of=lambda documents: batch_key(documents, **settings.asked_for),
            chunk_size=1000,
        )
        (reference,) = plan.chunks
        operator = SubmitChunkOperator(task_id="submit", chunk=reference)
        self.xcoms = {}
        ti = SimpleNamespace(
            dag_id="dag",
            run_id="run",
            task_id="submit",
            map_index=0,
            xcom_push=lambda key, value: self.xcoms.update({key: value}),
        )
        return operator.execute({"ti": ti})  # type: ignore[typeddict-item]  # what the operator reads of it

    def submission(self) -> list[Document]:
        """Return the documents as they stood when the chunk was sent."""
        return list(read_documents(ObjectStoragePath(self.xcoms["submission"])))

    def times_paid(self) -> set[int]:
        """Return how often each document that was sent was sent."""
        return set(self.api.stats()["runs_created"].values())


@pytest.fixture
def chunk(extend_api: ExtendApi, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chunk:
    # A short timeout, because a submission may be accepted for as long as its answer is waited for.
    def connect(grace: float) -> None:
        connection = extend_api.connection_json(timeout=2, listing_grace=grace)
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", connection)

    connect(0.0)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", s3.connection_json())
    bucket = s3.bucket("inbox")
    documents = []
    for number in range(3):
        etag = s3.put(bucket, f"in/{number}.txt", f"Receipt\nTotal: {number}.00 EUR\n".encode())
        documents.append(Document(f"s3://{bucket}/in/{number}.txt", etag, 20, "2026-11-21T00:00:00+00:00"))
    return Chunk(
        extend_api, s3, bucket, ObjectStoragePath(f"file://{tmp_path}/files/run"), documents, connect
    )


def test_a_chunk_becomes_one_batch_whose_inputs_carry_their_identity(chunk: Chunk) -> None:
    batch_id = chunk.submit()
    assert chunk.xcoms["run_count"] == 3
    with ExtendHook() as hook:
        runs = [hook.get_run(run.id) for page in hook.iter_run_pages(batch_id=batch_id) for run in page]
    assert {run.metadata["document_id"] for run in runs} == {document.id for document in chunk.documents}
    assert {run.metadata["source_uri"] for run in runs} == {document.uri for document in chunk.documents}
    assert chunk.submission() == chunk.documents


def test_a_retry_takes_up_the_batch_that_exists(chunk: Chunk) -> None:
    first, second = chunk.submit(), chunk.submit()
    assert first == second
    assert chunk.xcoms["run_count"] == 3
    assert chunk.api.requests_to(BATCH) == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "error", "accepted": True}, id="500 after acceptance"),
        pytest.param({"kind": "drop", "accepted": True}, id="connection dropped after acceptance"),
        pytest.param({"kind": "malformed", "accepted": True}, id="answer broken off"),
    ],
)
def test_a_lost_answer_is_looked_for_and_found(chunk: Chunk, fault: dict[str, Any]) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, **fault}])
    with pytest.raises(ExtendUnclearSubmissionError):
        chunk.submit()
    assert chunk.submit(grace=30) is not None
    assert chunk.api.requests_to(BATCH) == 1
    assert chunk.times_paid() == {1}
    assert chunk.xcoms["run_count"] == 3


def test_a_lost_answer_is_found_although_its_runs_are_listed_late(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True}], listing_lag_seconds=3)
    with pytest.raises(ExtendUnclearSubmissionError):
        chunk.submit()
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
    with pytest.raises(ExtendUnclearSubmissionError):
        chunk.submit()
    begun = dt.datetime.now(dt.UTC)
    assert chunk.submit(grace=4) is not None
    assert dt.datetime.now(dt.UTC) - begun > dt.timedelta(seconds=2)
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
    rival = dataclasses.replace(chunk, folder=chunk.folder.parent / "rival")
    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(lambda each: each.submit(grace=30), [chunk, rival])
    assert ours == theirs is not None
    assert chunk.times_paid() == {1}
    assert chunk.submission() == rival.submission() == chunk.documents


def test_a_batch_turned_away_by_the_rate_limit_is_sent_when_there_is_room(chunk: Chunk) -> None:
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "rate_limit", "count": 2, "retry_after": 1}])
    assert chunk.submit() is not None
    assert chunk.api.requests_to(BATCH) == 3
    assert chunk.api.requests_to("GET /workflow_runs") == 0
    assert chunk.times_paid() == {1}


def test_other_batches_of_the_workflow_are_not_mistaken_for_ours(chunk: Chunk) -> None:
    with ExtendHook() as hook:
        other = hook.create_batch("workflow_mixed", [BatchInput(FileInput(text="x"), {"chunk": "another"})])
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True}])
    with pytest.raises(ExtendUnclearSubmissionError):
        chunk.submit()
    assert chunk.submit(grace=60) not in (None, other)


def test_looking_for_a_batch_costs_one_request_per_batch(chunk: Chunk) -> None:
    with ExtendHook() as hook:
        from extend_provider.models import BatchInput, FileInput

        for number in range(5):
            hook.create_batch(
                "workflow_mixed", [BatchInput(FileInput(text="x"), {"chunk": str(number)})] * 20
            )
    chunk.api.configure(faults=[{"endpoint": BATCH, "kind": "drop", "accepted": True}])
    with pytest.raises(ExtendUnclearSubmissionError):
        chunk.submit()
    chunk.submit(grace=60)
    requests = chunk.api.stats()["requests"]
    assert requests["GET /workflow_runs"] == 1
    assert requests["GET /workflow_runs/{id}"] <= 6


def test_an_explicit_reprocessing_pays_again_and_only_once(chunk: Chunk) -> None:
    first = chunk.submit()
    chunk.folder = chunk.folder.parent / "another run"
    again = chunk.submit(reprocess=True, repetition="dag/run 2/group")
    retried = chunk.submit(reprocess=True, repetition="dag/run 2/group")
    assert first != again == retried
    assert chunk.times_paid() == {2}


def test_another_run_with_the_same_documents_takes_up_the_same_batch(chunk: Chunk) -> None:
    first = chunk.submit()
    chunk.folder = chunk.folder.parent / "another run"
    assert chunk.submit() == first
    assert chunk.submission() == chunk.documents


def test_a_deleted_document_stays_behind_and_the_others_go(chunk: Chunk) -> None:
    chunk.s3.client.delete_object(Bucket=chunk.bucket, Key="in/1.txt")
    assert chunk.submit() is not None
    assert chunk.xcoms["run_count"] == 2
    assert [document.reason for document in chunk.submission()] == [None, OBJECT_DELETED, None]


def test_a_chunk_of_which_nothing_is_left_sends_nothing(chunk: Chunk) -> None:
    for number in range(3):
        chunk.s3.client.delete_object(Bucket=chunk.bucket, Key=f"in/{number}.txt")
    assert chunk.submit() is None
    assert chunk.xcoms["run_count"] == 0
    assert chunk.api.requests_to(BATCH) == 0


def test_uploaded_documents_are_read_from_s3_and_sent_by_id(chunk: Chunk) -> None:
    assert chunk.submit(transfer="upload") is not None
    assert chunk.api.requests_to("POST /files/upload") == 3
    assert chunk.times_paid() == {1}


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
