"""Whole nights with every switch of the emulator thrown: rows equal the truth, documents are paid once."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from fixtures.airflow.dag_runs import Outside
from fixtures.extend.api import NEWEST
from fixtures.extend.contract import OLDER, faults_of
from fixtures.extend.recorder import recording
from fixtures.extend.scripted_server import closed_port
from sandbox.documents import ExpectedResult, SampleObject, expected_result, generate
from sandbox.extend_api.settings import Settings
from sandbox.stack.nightly.landed import LandedWarehouse
from sandbox.stack.nightly.verify import differences

RunDag = Callable[..., Any]

BATCH, LIST, GET = "POST /workflow_runs/batch", "GET /workflow_runs", "GET /workflow_runs/{id}"
WORKFLOW = "workflow_mixed"
DAY = dt.date(2026, 11, 19)
NIGHT = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)
PREFIX = f"documents/{DAY}/"
#: Between the sizes of the day's documents: some are above it.
LIMIT = 6_400

#: What can be thrown together, by what it is about.
SWITCHES: dict[str, dict[str, Any]] = {
    "work": {
        "latency_seconds": 0.01,
        "latency_max_seconds": 0.1,
        "max_concurrent_runs": 3,
        "runs_per_minute": 1_000,
        "cancelling_seconds": 5.0,
        "download_timeout_seconds": 5.0,
        "credits_per_page": 0.25,
        "parse_credits_per_page": 0.5,
    },
    "traffic": {
        "requests_per_second": 40.0,
        "rate_window": "sliding",
        "rate_burst": 0.5,
        "retry_after": "date",
        "retry_after_seconds": 0.1,
        "faults": [
            {"endpoint": BATCH, "kind": "drop", "accepted": True},
            {"endpoint": LIST, "kind": "error", "status": 503},
            {"endpoint": LIST, "kind": "malformed", "skip": 1},
            {"endpoint": GET, "kind": "rate_limit", "retry_after": 0.1},
            {"endpoint": GET, "kind": "slow", "seconds": 0.2, "skip": 3},
        ],
    },
    "listing": {
        "listing_lag_seconds": 0.5,
        "listing_lag_halves": True,
        "listing_lag_second_half_seconds": 0.5,
        "max_page_size": 3,
        "page_size_over_limit": "cap",
        "repeat_between_pages": 2,
        "shuffle_pages": True,
        "last_page_token": "null",
        "invalid_page_token": "restart",
        "longest_list": 100,
        "beyond_longest_list": "circle",
    },
    "answers": {
        "metadata_keys": "dots",
        "nothing_found": "null",
        "initial_status": "PROCESSING",
        "review_steps": True,
        "outcomes": [{"status": "NEEDS_REVIEW", "name_glob": "*.csv"}],
    },
    "refusals": {
        "organization_key": True,
        "workspace_id": "ws_acme",
        "validation_status": 422,
        "unreachable_url": "reject_batch",
        "max_file_bytes": LIMIT,
        "cancel_refusal_status": 409,
        "batch_status": "batch_run",
        "deleted_status": 410,
    },
    "webhooks": {
        "webhook_attempts": 2,
        "webhook_retry_seconds": 0.1,
        "webhook_timeout_seconds": 5.0,
        "webhook_concurrency": 2,
        "webhook_faults": [{"kind": "forge"}, {"kind": "repeat"}, {"kind": "lose", "fraction": 0.5}],
    },
}
#: Whether such a step stands in a run is stated nowhere; the switch "review_steps" has it stand there.
UNSTATED = "stepType: 'HUMAN_REVIEW' is none of"
#: What is thrown by itself, because nothing of a day's truth comes of it, or because it has to be taken back.
BY_THEMSELVES = {"hold", "max_queued_runs", "no_credits", "synthetic"}


@pytest.fixture
def day(outside: Outside) -> list[SampleObject]:
    """A day's documents in S3."""
    samples = list(generate(days=[DAY], per_day=16, seed=11))
    for sample in samples:
        outside.put(sample.key, sample.data)
    return samples


@pytest.fixture
def night(outside: Outside, run_dag: RunDag, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Run the night; what is said to Extend keeps to its contract, both ways."""
    with recording(outside.extend.url) as (url, exchanges):
        front = dataclasses.replace(outside.extend, url=url)

        def run(api_version: str = NEWEST) -> str:
            connection = front.connection_json(
                api_version, workspace_id="ws_acme", timeout=5, acceptance_window=30, listing_grace=5
            )
            monkeypatch.setenv("AIRFLOW_CONN_EXTEND_DEFAULT", connection)
            return str(run_dag("extend_nightly", logical_date=NIGHT).state)

        yield run
        # An answer that was made to break off is none.
        said = [each for each in exchanges if each.status >= 400 or each.answer is not None]
        faults = sorted({fault for each in said for fault in faults_of(each)})
        assert [fault for fault in faults if UNSTATED not in fault] == []


def truth(day: list[SampleObject], thrown: dict[str, Any]) -> Iterator[ExpectedResult]:
    """Return what the switches leave, or make, of a day's truth."""
    for sample in day:
        expected = expected_result(sample.truth, WORKFLOW)
        sent = expected.status != "SKIPPED"
        if sent and len(sample.data) > thrown.get("max_file_bytes", len(sample.data)):
            yield ExpectedResult(sample.key, "FAILED", "FILE_SIZE_TOO_LARGE", None, None)
        elif "outcomes" in thrown and sample.key.endswith(".csv") and expected.status == "PROCESSED":
            in_review: Any = "NEEDS_REVIEW"  # no document's truth, but a person's affair
            yield dataclasses.replace(expected, status=in_review)
        else:
            yield expected


def assert_landed(outside: Outside, expected: Iterator[ExpectedResult]) -> None:
    with LandedWarehouse(outside.warehouse) as warehouse:
        assert [str(each) for each in differences(expected, warehouse.documents(WORKFLOW, PREFIX))] == []
    assert set(outside.extend.stats()["runs_created"].values()) == {1}


def test_every_switch_is_thrown() -> None:
    thrown = [name for switches in SWITCHES.values() for name in switches]
    assert {*thrown, *BY_THEMSELVES} == {field.name for field in msgspec.structs.fields(Settings)}
    assert len(thrown) == len(set(thrown))
    defaults = msgspec.to_builtins(Settings())
    usual = [name for group in SWITCHES.values() for name, value in group.items() if defaults[name] == value]
    assert usual == []


@pytest.mark.parametrize(
    ("about", "api_version"),
    [("all at once", NEWEST), ("all at once", OLDER), *((about, NEWEST) for about in SWITCHES)],
)
def test_a_night_lands_its_truth_and_pays_once_with_switches_thrown(
    outside: Outside, day: list[SampleObject], night: Callable[..., str], about: str, api_version: str
) -> None:
    thrown = SWITCHES.get(about) or {n: value for group in SWITCHES.values() for n, value in group.items()}
    outside.extend.listen(f"http://127.0.0.1:{closed_port()}", workflow_id=WORKFLOW)  # nobody hears of it
    outside.extend.configure(**{"workspace_id": "ws_acme", **thrown})
    assert night(api_version) == "success"
    assert_landed(outside, truth(day, thrown))


def test_a_night_waits_until_there_is_room_in_a_queue_that_stands_still(
    outside: Outside, day: list[SampleObject], night: Callable[..., str]
) -> None:
    outside.extend.configure(workspace_id="ws_acme", hold=True, max_queued_runs=20)
    outside.extend.submit_batch([{"file": {"text": "x", "name": f"other {n}.txt"}} for n in range(12)])

    def release() -> None:
        while f"{BATCH} 429" not in outside.extend.stats()["responses"]:
            time.sleep(0.05)
        outside.extend.configure(hold=False)

    releasing = threading.Thread(target=release, daemon=True)
    releasing.start()
    assert night() == "success"
    releasing.join()
    assert_landed(outside, truth(day, {}))


def test_a_night_without_credits_pays_nothing_and_its_next_attempt_everything_once(
    outside: Outside, day: list[SampleObject], night: Callable[..., str]
) -> None:
    outside.extend.configure(workspace_id="ws_acme", no_credits=True)
    assert night() == "failed"
    assert outside.extend.stats()["runs_created"] == {}
    outside.extend.configure(no_credits=False)
    assert night() == "success"
    assert_landed(outside, truth(day, {}))


def test_a_night_of_synthetic_answers_lands_a_row_for_each_document(
    outside: Outside, day: list[SampleObject], night: Callable[..., str]
) -> None:
    outside.extend.configure(workspace_id="ws_acme", synthetic=True)
    assert night() == "success"
    expected = [expected_result(sample.truth, WORKFLOW) for sample in day]
    assert outside.statuses() == {
        each.key: (each.status, each.reason) if each.status == "SKIPPED" else ("PROCESSED", None)
        for each in expected
    }
    assert set(outside.extend.stats()["runs_created"].values()) == {1}
