"""Counting runs and deciding what the counts mean."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.batch.waiting.polling import Outcome, WaitPolicy, decide, timed_out
from extend_provider.batch.waiting.progress import (
    IN_FLIGHT_STATUSES,
    SETTLED_STATUSES,
    BatchProgress,
    FailurePolicy,
    OnNeedsReview,
    RunCounter,
    RunRecords,
)
from extend_provider.client.models import RunSummary, WorkflowRun

NOW = 1_800_000_000.0
STATUSES = st.sampled_from([*sorted(SETTLED_STATUSES), *sorted(IN_FLIGHT_STATUSES), "SOME_NEW_STATUS"])
POLICIES: st.SearchStrategy[OnNeedsReview] = st.sampled_from(["land", "wait", "fail"])
BATCHES = st.dictionaries(st.integers(0, 400).map("run_{}".format), STATUSES, max_size=60)
SECONDS = st.floats(0.01, 1e6)


def count(expected: int, pages: Sequence[Sequence[RunSummary]]) -> BatchProgress:
    counter = RunCounter(expected)
    for page in pages:
        counter.add(page)
    return counter.progress()


def look(expected: int, **by_status: int) -> BatchProgress:
    return BatchProgress(expected, by_status)


def decided(progress: BatchProgress, policy: OnNeedsReview, *, now: float, deadline: float) -> Outcome:
    return decide(progress, WaitPolicy(deadline, 60, policy), now=now).outcome


@given(batch=BATCHES, data=st.data())
def test_order_and_repetition_between_pages_change_no_count(
    batch: dict[str, str], data: st.DataObject
) -> None:
    runs = [RunSummary(run_id, status) for run_id, status in batch.items()]
    repeated = runs + (data.draw(st.lists(st.sampled_from(runs), max_size=30)) if runs else [])
    shuffled = data.draw(st.permutations(repeated))
    size = data.draw(st.integers(1, 20))
    pages = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]

    progress = count(len(batch), pages)

    assert progress.by_status == Counter(batch.values())
    assert progress == count(len(batch), [runs])


def test_of_a_run_listed_twice_the_status_seen_last_counts() -> None:
    pages = [[RunSummary("run_1", "PROCESSING")], [RunSummary("run_1", "PROCESSED")]]
    assert count(1, pages).by_status == {"PROCESSED": 1}


@given(batch=BATCHES, missing=st.integers(1, 1000), policy=POLICIES, now=SECONDS, deadline=SECONDS)
def test_a_short_listing_is_never_done(
    batch: dict[str, str], missing: int, policy: OnNeedsReview, now: float, deadline: float
) -> None:
    progress = BatchProgress(len(batch) + missing, Counter(batch.values()))
    outcome = decided(progress, policy, now=now, deadline=deadline)
    assert outcome is (Outcome.TIMED_OUT if now >= deadline else Outcome.WAIT)


@given(batch=BATCHES, policy=POLICIES, now=SECONDS, deadline=SECONDS)
def test_done_means_every_listed_run_has_settled(
    batch: dict[str, str], policy: OnNeedsReview, now: float, deadline: float
) -> None:
    progress = BatchProgress(len(batch), Counter(batch.values()))
    outcome = decided(progress, policy, now=now, deadline=deadline)
    all_settled = all(status in SETTLED_STATUSES for status in batch.values())
    reviewed = "NEEDS_REVIEW" not in batch.values()
    assert (outcome is Outcome.DONE) == (all_settled and (policy == "land" or reviewed))
    assert (outcome is Outcome.FAILED_REVIEW) == (all_settled and policy == "fail" and not reviewed)


@pytest.mark.parametrize(
    ("policy", "progress", "outcome"),
    [
        pytest.param("land", look(2, PROCESSED=1, NEEDS_REVIEW=1), Outcome.DONE, id="land-takes-it-as-it-is"),
        pytest.param("wait", look(2, PROCESSED=1, NEEDS_REVIEW=1), Outcome.WAIT, id="wait-for-the-reviewer"),
        pytest.param("wait", look(2, PROCESSED=1, REJECTED=1), Outcome.DONE, id="wait-ends-with-a-rejection"),
        pytest.param(
            "fail", look(2, PROCESSING=1, NEEDS_REVIEW=1), Outcome.WAIT, id="fail-lets-the-rest-settle"
        ),
        pytest.param(
            "fail", look(2, PROCESSED=1, NEEDS_REVIEW=1), Outcome.FAILED_REVIEW, id="fail-then-fails"
        ),
        pytest.param("land", look(1, FAILED=1), Outcome.DONE, id="failed-has-settled"),
        pytest.param("land", look(1, CANCELLING=1), Outcome.WAIT, id="cancelling-has-not"),
        pytest.param("land", look(1), Outcome.WAIT, id="empty-listing-is-not-yet"),
        pytest.param("land", look(1, SOME_NEW_STATUS=1), Outcome.WAIT, id="unknown-status-is-not-yet"),
        pytest.param("land", look(1, PROCESSED=2), Outcome.DONE, id="more-listed-than-submitted"),
        pytest.param("land", look(1, PROCESSED=1, PENDING=1), Outcome.WAIT, id="more-listed-one-not-settled"),
    ],
)
def test_each_review_policy_decides_the_outcome(
    policy: OnNeedsReview, progress: BatchProgress, outcome: Outcome
) -> None:
    assert decided(progress, policy, now=NOW, deadline=NOW + 1) is outcome


def test_a_settled_batch_is_done_after_the_deadline() -> None:
    assert decided(look(1, PROCESSED=1), "land", now=NOW, deadline=NOW - 3600) is Outcome.DONE


def test_the_progress_is_described_for_a_person() -> None:
    progress = look(1000, PROCESSED=807, FAILED=3, NEEDS_REVIEW=2, PROCESSING=100)
    assert str(progress) == "812 of 1,000 settled, 3 failed, 2 in review, 88 not listed yet"


def test_warnings_name_unknown_statuses_and_surplus_runs() -> None:
    assert look(3, PROCESSED=1, PENDING=1, CANCELLED=1).warnings == ()
    assert look(1, PROCESSED=1, ON_HOLD=2).warnings == (
        "2 in the unknown status 'ON_HOLD', which counts as not settled",
        "3 runs are listed although 1 were submitted",
    )


def test_a_timeout_without_listed_runs_says_what_to_check() -> None:
    assert "not one run was ever listed" in timed_out(look(5), NOW).message.lower()
    assert "ever listed" not in timed_out(look(5, PENDING=1), NOW).message
    assert "2027-01-15T08:00:00+00:00" in timed_out(None, NOW).message


def test_the_first_listed_dashboard_url_is_kept() -> None:
    pages = [[RunSummary("run_1", "PENDING"), RunSummary("run_2", "PENDING", dashboard_url="https://d/2")]]
    assert count(2, pages).dashboard_url == "https://d/2"
    assert "dashboard_url" not in count(2, pages).as_dict()


def test_counting_a_hundred_thousand_runs_keeps_ids_and_statuses_alone() -> None:
    def page(number: int) -> list[RunSummary]:
        return [
            RunSummary(f"workflow_run_{number}_{index}", "PROCESSED", dashboard_url="https://d/" + "x" * 500)
            for index in range(1000)
        ]

    counter = RunCounter(100_000)
    tracemalloc.start()
    for number in range(100):
        counter.add(page(number))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counter.progress().listed == 100_000
    assert held < 100_000 * 250


def test_only_unsettled_runs_are_fetched_again() -> None:
    runs = RunRecords(
        RunRecords.record(WorkflowRun(f"run_{index}", status), f"{index}.pdf")
        for index, status in enumerate(["PENDING", "PROCESSED", "NEEDS_REVIEW", "FAILED", "NEW_ONE"])
    )
    assert runs.unsettled("land") == ["run_0", "run_4"]
    assert runs.unsettled("wait") == ["run_0", "run_2", "run_4"]

    runs.take(WorkflowRun("run_0", "FAILED", failure_reason="INTERNAL_ERROR", failure_message="broke"))

    assert runs.records[0] == {
        "id": "run_0",
        "status": "FAILED",
        "dashboard_url": None,
        "name": "0.pdf",
        "failure": "INTERNAL_ERROR: broke",
    }
    assert runs.progress().by_status == {"FAILED": 2, "PROCESSED": 1, "NEEDS_REVIEW": 1, "NEW_ONE": 1}


@pytest.mark.parametrize(
    ("policy", "by_status", "gone", "said", "too_many"),
    [
        pytest.param({}, {"PROCESSED": 4}, 0, None, False, id="none-failed"),
        pytest.param({"max_failed": 0}, {"PROCESSED": 3, "NEEDS_REVIEW": 1}, 0, None, False, id="in-review"),
        pytest.param({}, {"FAILED": 4}, 0, "4 of 4 runs failed (4 FAILED)", False, id="any-number"),
        pytest.param({"max_failed": 0}, {"PROCESSED": 3, "CANCELLED": 1}, 0, "max_failed=0", True, id="one"),
        pytest.param(
            {"max_failed": 1}, {"PROCESSED": 2, "REJECTED": 1}, 1, "1 gone", True, id="gone-adds-up"
        ),
        pytest.param({"max_failed": 2}, {"PROCESSED": 2, "REJECTED": 1}, 1, "1 gone", False, id="allowed"),
        pytest.param({}, {"PROCESSED": 3}, 1, "neither max_failed nor", True, id="gone-and-nobody-said"),
        pytest.param(
            {"max_failed_ratio": 0.25}, {"PROCESSED": 3, "FAILED": 1}, 0, "1 of 4", False, id="share"
        ),
        pytest.param(
            {"max_failed_ratio": 0.24}, {"PROCESSED": 3, "FAILED": 1}, 0, "larger share", True, id="more"
        ),
        pytest.param(
            {"max_failed": 9, "max_failed_ratio": 0.0}, {"PROCESSED": 3}, 1, "larger share", True, id="either"
        ),
    ],
)
def test_the_failure_policy_decides_how_many_failures_are_too_many(
    policy: dict[str, Any], by_status: dict[str, int], gone: int, said: str | None, too_many: bool
) -> None:
    counts = BatchProgress(sum(by_status.values()) + gone, by_status).as_dict()
    text, error = FailurePolicy(**policy).judge(counts, gone=bool(gone))
    assert error == too_many
    assert (text is None) == (said is None)
    assert said is None or said in str(text)
