"""Runs that webhooks have brought are not asked for, and what lands does not depend on it."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from extend_pipeline.batches.collection import collect
from extend_pipeline.batches.evidence import inspect
from extend_pipeline.batches.inbox import part_note, remove_taken
from extend_pipeline.documents import Document
from extend_pipeline.storage.raw_zone import RawPart
from extend_provider.client.pacing.limits import limits_of
from extend_provider.client.pacing.machine import with_shares
from extend_provider.client.pacing.shares import NOBODY, Share
from extend_provider.exceptions import ExtendError
from extend_provider.hooks.extend import ExtendAsyncHook, ExtendHook
from extend_provider.webhooks.inbox.store import Inbox
from fixtures.extend.pacing import shares_of
from fixtures.sources.s3 import S3
from fixtures.warehouse.runs import document
from fixtures.webhooks.delivered import LISTING, RUN, Webhooks

RUNS = 6
DOCUMENTS = [document(number) for number in range(RUNS)]
LEGACY = "2025-04-21"


class Batch:
    """A batch of six, its webhooks, and the place in the raw zone that it is collected into."""

    def __init__(self, webhooks: Webhooks, folder: Path) -> None:
        self.webhooks = webhooks
        self.api = webhooks.api
        inputs = [
            {
                "file": {"text": f"Invoice number: {number}", "name": f"{number}.txt"},
                "metadata": {"document_id": each.id},
            }
            for number, each in enumerate(DOCUMENTS)
        ]
        self.id = self.api.submit_batch(inputs)
        self.file = folder / "raw" / "part-00000.jsonl.gz"

    def collect(self, expected: int = RUNS, documents: list[Document] = DOCUMENTS) -> RawPart:
        destination = ObjectStoragePath(f"file://{self.file}")
        return collect(ExtendAsyncHook(), self.id, documents, destination, expected=expected)

    @property
    def asked(self) -> tuple[int, int]:
        """How many lists and how many runs were asked for."""
        return self.webhooks.requests_to(LISTING), self.webhooks.requests_to(RUN)

    def lines(self) -> dict[str, dict[str, Any]]:
        """Return the lines of the raw zone by run."""
        lines = map(json.loads, gzip.decompress(self.file.read_bytes()).splitlines())
        return {line["run"]["id"]: line for line in lines}

    def runs(self) -> list[str]:
        return [run["id"] for run in self.webhooks.listed(self.id)]


@pytest.fixture
def batch(webhooks: Webhooks, tmp_path: Path) -> Batch:
    return Batch(webhooks, tmp_path)


def reviewed(batch: Batch) -> Batch:
    """Return another batch, the first document of which waits for a reviewer."""
    batch.api.configure(outcomes=[{"status": "NEEDS_REVIEW", "name_glob": "0.txt"}])
    return Batch(batch.webhooks, batch.file.parents[1])


@pytest.fixture(params=["disk", "s3"])
def anywhere(batch: Batch, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Batch:
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        batch.webhooks.address = f"s3://aws_inbox@{s3.bucket('workspace')}/extend/inbox"
        monkeypatch.setenv("AIRFLOW_CONN_AWS_INBOX", s3.connection_json())
        monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", batch.webhooks.connection_json())
    return batch


def test_a_batch_that_has_arrived_is_collected_without_a_request_byte_for_byte(anywhere: Batch) -> None:
    batch = anywhere
    batch.webhooks.deliver(batch.id)
    part = batch.collect()
    assert (part.runs, part.documents) == (RUNS, RUNS)
    assert batch.asked == (0, 0)
    by_webhook = sorted(gzip.decompress(batch.file.read_bytes()).splitlines())

    remove_taken(part_note(part.uri))
    assert batch.webhooks.inbox.arrived(batch.id) == {}
    batch.file.unlink()
    batch.collect()
    assert batch.asked == (1, RUNS)
    assert sorted(gzip.decompress(batch.file.read_bytes()).splitlines()) == by_webhook


def test_only_what_has_not_arrived_is_asked_for(batch: Batch) -> None:
    batch.webhooks.deliver(batch.id, which=lambda number: number < 4)
    assert batch.collect().runs == RUNS
    assert batch.asked == (1, 2)


def test_an_inbox_that_cannot_be_read_costs_requests_and_nothing_else(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch.webhooks.deliver(batch.id)

    def refuse(*asked: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Inbox, "arrived", refuse)
    with caplog.at_level(logging.WARNING):
        assert batch.collect().runs == RUNS
    assert "inbox of webhooks cannot be read, so Extend is asked" in caplog.text
    assert batch.asked == (1, RUNS)
    assert inspect(ExtendAsyncHook(), batch.id, RUNS).present == RUNS


def damaged(batch: Batch) -> None:
    for path in (batch.webhooks.folder / "runs" / batch.id).iterdir():
        path.write_bytes(path.read_bytes()[:-20])


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda run: {name: value for name, value in run.items() if name != key}


def no_result(run: dict[str, Any]) -> dict[str, Any]:
    return {**run, "stepRuns": [{**step, "result": None} for step in run["stepRuns"]]}


def no_output(run: dict[str, Any]) -> dict[str, Any]:
    (step,) = run["stepRuns"]
    return {**run, "stepRuns": [{**step, "result": {"extractRun": {"id": "exr_1", "status": "PROCESSED"}}}]}


@pytest.mark.parametrize(
    "change",
    [without("stepRuns"), without("usage"), without("metadata"), no_result, no_output],
    ids=["no steps", "no usage", "no metadata", "no result", "no output"],
)
def test_a_webhook_with_less_than_the_api_has_is_asked_for(
    batch: Batch, change: Callable[[dict[str, Any]], dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    batch.webhooks.deliver(batch.id, which=lambda number: number > 1)
    batch.webhooks.deliver(batch.id, which=lambda number: number <= 1, change=change)
    with caplog.at_level(logging.WARNING):
        assert batch.collect().runs == RUNS
    assert batch.asked == (0, 2)
    assert "2 webhooks of batch" in caplog.text
    assert all(line["run"]["stepRuns"] and line["run"]["usage"] for line in batch.lines().values())


def test_a_damaged_webhook_is_asked_for(batch: Batch) -> None:
    batch.webhooks.deliver(batch.id)
    damaged(batch)
    assert batch.collect().runs == RUNS
    assert batch.asked == (0, RUNS)


def test_an_object_with_another_runs_webhook_in_it_is_asked_for(batch: Batch) -> None:
    batch.webhooks.deliver(batch.id)
    one, other, *_ = sorted((batch.webhooks.folder / "runs" / batch.id).iterdir())
    one.write_bytes(other.read_bytes())
    assert batch.collect().runs == RUNS
    assert batch.asked == (0, 1)


def test_a_webhook_that_is_removed_meanwhile_is_asked_for(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch.webhooks.deliver(batch.id)
    read = Inbox.read

    def remove_first(self: Inbox, batch_id: str | None, arrived: Any) -> Any:
        if arrived.run_id == batch.runs()[0]:
            self.remove(batch_id, arrived.names)
        return read(self, batch_id, arrived)

    monkeypatch.setattr(Inbox, "read", remove_first)
    assert batch.collect().runs == RUNS
    assert batch.asked[1] == 1


def test_a_webhook_in_the_other_api_version_is_kept_as_it_was_sent(batch: Batch) -> None:
    batch.webhooks.deliver(batch.id, which=lambda number: number % 2, version=LEGACY)
    batch.webhooks.deliver(batch.id, which=lambda number: not number % 2)
    assert batch.collect().runs == RUNS
    assert batch.asked == (0, 0)
    versions = [batch.lines()[run_id]["api_version"] for run_id in batch.runs()]
    assert versions == ["2026-02-09", LEGACY] * 3


@pytest.mark.parametrize("decision_first", [False, True])
def test_a_decision_counts_whichever_webhook_comes_first(batch: Batch, decision_first: bool) -> None:
    batch = reviewed(batch)
    (run_id, *_) = batch.runs()
    waiting = batch.webhooks.payload(run_id)
    batch.api.review(run_id, "approve")
    decided = batch.webhooks.payload(run_id)
    for payload in (decided, waiting) if decision_first else (waiting, decided):
        batch.webhooks.put(payload)
    batch.webhooks.deliver(batch.id, which=lambda number: number > 0)
    part = batch.collect()
    assert batch.lines()[run_id]["run"]["status"] == "PROCESSED"
    assert batch.asked == (0, 0)
    remove_taken(part_note(part.uri))
    assert batch.webhooks.names() == []


def test_a_decision_between_collecting_and_landing_is_not_removed_unread(batch: Batch) -> None:
    batch = reviewed(batch)
    (run_id, *_) = batch.webhooks.deliver(batch.id)
    part = batch.collect()
    batch.api.review(run_id, "approve")
    batch.webhooks.put(batch.webhooks.payload(run_id))
    remove_taken(part_note(part.uri))
    (left,) = batch.webhooks.inbox.arrived(batch.id).values()
    assert (left.run_id, left.status) == (run_id, "PROCESSED")

    again = batch.collect()
    assert again.runs == RUNS
    assert batch.lines()[run_id]["run"]["status"] == "PROCESSED"
    assert batch.asked == (1, RUNS - 1)
    remove_taken(part_note(again.uri))
    assert batch.webhooks.names() == []


def test_what_was_taken_is_removed_once_and_a_landing_does_not_depend_on_it(
    batch: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    batch.webhooks.deliver(batch.id)
    part = batch.collect()
    remove_taken(part_note(part.uri))
    remove_taken(part_note(part.uri))
    batch.webhooks.deliver(batch.id)
    batch.collect()
    note = next(batch.file.parent.glob("*.webhooks.jsonl"))
    note.write_text("{")
    with caplog.at_level(logging.WARNING):
        remove_taken(part_note(part.uri))
    assert "stay in the inbox for a day" in caplog.text


def test_collecting_again_with_nothing_new_cleans_the_inbox_too(batch: Batch) -> None:
    first = batch.collect()
    batch.webhooks.deliver(batch.id)  # late, after everything was asked for
    assert batch.collect() == first
    remove_taken(part_note(first.uri))
    assert batch.webhooks.names() == []


def test_a_richer_record_is_not_replaced_by_an_older_webhook(batch: Batch) -> None:
    batch = reviewed(batch)
    (run_id, *_) = batch.runs()
    waiting = batch.webhooks.payload(run_id)
    batch.api.review(run_id, "approve")
    batch.collect()
    before = batch.lines()[run_id]
    batch.webhooks.put(waiting)
    batch.webhooks.deliver(batch.id, which=lambda number: number > 0)
    batch.collect()
    assert batch.lines()[run_id] == before


def test_a_run_of_another_document_makes_no_batch_complete(batch: Batch) -> None:
    """By number the inbox is complete, but one of the runs that were sent is at work."""
    runs = batch.webhooks.deliver(batch.id, which=lambda number: number > 0)
    stray = {"id": "workflow_run_stray", "metadata": {"document_id": DOCUMENTS[1].id}}
    batch.webhooks.put(batch.webhooks.payload(runs[0]), change=lambda run: {**run, **stray})
    assert batch.collect().runs == RUNS
    assert batch.asked == (1, 1)
    assert "workflow_run_stray" not in batch.lines()


@pytest.mark.parametrize("failed_at", ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z", None])
def test_a_failure_that_has_passed_at_extend_is_not_what_its_webhook_says(
    batch: Batch, failed_at: str | None
) -> None:
    """The run was run again there. To send its document again would be to pay for it twice."""
    (run_id, *_) = batch.webhooks.deliver(batch.id)
    failed = {"status": "FAILED", "failureReason": "INTERNAL_ERROR", "updatedAt": failed_at}
    batch.webhooks.inbox.remove(batch.id, batch.webhooks.inbox.arrived(batch.id)[run_id].names)
    batch.webhooks.put(batch.webhooks.payload(run_id), change=lambda run: {**run, **failed})
    found = inspect(ExtendAsyncHook(), batch.id, RUNS)
    assert (found.statuses[run_id], found.failed, list(found.ends)) == ("PROCESSED", 0, [])
    assert batch.asked == (1, 0)


def test_how_a_run_failed_is_read_from_its_webhook(batch: Batch) -> None:
    batch.api.configure(outcomes=[{"status": "FAILED", "name_glob": "[01].txt", "reason": "INTERNAL_ERROR"}])
    batch = Batch(batch.webhooks, batch.file.parents[1])
    runs = batch.webhooks.deliver(batch.id)
    found = inspect(ExtendAsyncHook(), batch.id, RUNS)
    assert {(end.run_id, end.reason, end.document_id) for end in found.ends} == {
        (run_id, "INTERNAL_ERROR", each.id) for run_id, each in zip(runs[:2], DOCUMENTS[:2], strict=True)
    }
    assert found.failed == 2
    assert batch.asked == (1, 0)


def test_runs_that_extend_has_deleted_meanwhile_are_not_missing(batch: Batch) -> None:
    runs = batch.webhooks.deliver(batch.id)
    for run_id in runs[:4]:
        assert batch.api.call("DELETE", f"/workflow_runs/{run_id}").ok
    found = inspect(ExtendAsyncHook(), batch.id, RUNS)
    assert (found.present, found.unsettled) == (RUNS, 0)
    evidence = found.evidence([each.id for each in DOCUMENTS], RUNS)
    assert (evidence.missing, evidence.without_run) == (0, ())
    assert batch.collect().runs == RUNS


@pytest.mark.parametrize(("year", "unsettled"), [(2099, 1), (2020, 6)])
def test_a_run_at_work_is_not_collected_because_the_others_have_arrived(
    batch: Batch, year: int, unsettled: int
) -> None:
    """Extend's list may be behind a webhook; a webhook may be older than what the list shows."""
    batch.api.configure(hold=True)
    batch = Batch(batch.webhooks, batch.file.parents[1])
    listed = batch.api.call("GET", "/workflow_runs", params={"batchId": batch.id}).json()["data"]
    ended = {"status": "CANCELLED", "updatedAt": f"{year}-01-01T00:00:00Z"}
    for each in listed[1:]:
        batch.webhooks.put(batch.webhooks.payload(each["id"]), change=lambda run: {**run, **ended})
    assert inspect(ExtendAsyncHook(), batch.id, RUNS).unsettled == unsettled
    with pytest.raises(ExtendError, match=r"Run .* of batch .* is PENDING"):
        batch.collect()
    assert not batch.file.exists()


def test_a_collection_goes_on_at_the_pace_of_the_one_before_and_leaves_it_to_the_next(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limits = limits_of(ExtendHook().settings)
    left = Share(NOBODY, time.time(), level=4.0, failures=5, step_at=time.time() + 60)
    with_shares(limits.key, "read", lambda _: [left])
    begun = time.monotonic()
    batch.collect()
    assert time.monotonic() - begun > (RUNS - 2) / 4.0, "careful starts are quicker"
    (after,) = shares_of(limits.key, "read")
    assert (after.process, after.level) == (NOBODY, 4.0)
    assert after.step_at == pytest.approx(left.step_at, abs=1.0)
