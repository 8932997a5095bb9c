"""When a run counts as a success."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from extend_pipeline.planning.plan import Plan
from extend_pipeline.planning.quality import Landed, failure_reason, sum_of_rounds
from fixtures.pipeline.chunks import reference


def landed(*, chunks: int = 1, planned: int = 1, dry_run: bool = False, **by_status: int) -> Landed:
    landing = {"by_status": by_status, "by_reason": {"CORRUPT": by_status.get("FAILED", 0)}, "credits": 1.5}
    found = sum(by_status.values())
    chunks_planned = [reference("f", str(number), 1) for number in range(planned)]
    plan = Plan(discovered=found, to_send=found, chunks=chunks_planned, dry_run=dry_run)
    return Landed.of(plan, [landing, *({} for _ in range(chunks - 1))] if chunks else [], {})


def judged(result: Landed, **policy: Any) -> str | None:
    return failure_reason(result, **{"max_failed": None, "max_failed_ratio": None, **policy})


@pytest.mark.parametrize(
    ("failed", "policy", "accepted"),
    [
        pytest.param(9, {}, True, id="no policy accepts any failures"),
        pytest.param(2, {"max_failed": 2}, True, id="as many as allowed"),
        pytest.param(3, {"max_failed": 2}, False, id="one more than allowed"),
        pytest.param(1, {"max_failed": 0}, False, id="none allowed"),
        pytest.param(5, {"max_failed_ratio": 0.5}, True, id="exactly the share"),
        pytest.param(6, {"max_failed_ratio": 0.5}, False, id="above the share"),
        pytest.param(3, {"max_failed": 9, "max_failed_ratio": 0.1}, False, id="the stricter one decides"),
    ],
)
def test_failed_documents_fail_the_run_only_beyond_the_policy(
    failed: int, policy: dict[str, Any], accepted: bool
) -> None:
    reason = judged(landed(PROCESSED=10 - failed, FAILED=failed), **policy)
    assert (reason is None) is accepted
    if reason:
        assert f"{failed} of 10" in reason
        assert "Everything has landed" in reason


def test_cancelled_counts_as_failed_and_a_rejection_does_not() -> None:
    assert judged(landed(CANCELLED=1), max_failed=0)
    assert judged(landed(REJECTED=1), max_failed=0) is None


def test_skipped_documents_count_neither_as_failed_nor_as_settled() -> None:
    result = landed(PROCESSED=1, FAILED=1, SKIPPED=98)
    assert judged(result, max_failed_ratio=0.4)


def test_a_missing_chunk_fails_the_run_and_says_that_clearing_is_safe() -> None:
    reason = judged(landed(chunks=2, planned=3, PROCESSED=5))
    assert reason is not None
    assert "1 of 3 chunks" in reason
    assert "not sent again" in reason


def test_a_run_without_chunks_is_a_success() -> None:
    assert judged(landed(chunks=0, planned=0), max_failed=0, max_failed_ratio=0.0) is None


def test_a_dry_run_is_a_success_although_nothing_landed() -> None:
    assert judged(landed(chunks=0, planned=3, dry_run=True)) is None


def test_waiting_reviews_fail_a_run_that_asks_for_it() -> None:
    assert judged(landed(PROCESSED=1, NEEDS_REVIEW=1)) is None
    assert judged(landed(PROCESSED=1, NEEDS_REVIEW=1), fail_on_review=True)


def test_the_figures_of_chunks_and_of_unsent_documents_add_up() -> None:
    plan = Plan(discovered=5, to_send=4)
    landing = {"by_status": {"PROCESSED": 2}, "by_reason": {}, "credits": 2.5, "rows": {"invoice": 2}}
    unsent = {"by_status": {"SKIPPED": 1}, "by_reason": {"EMPTY_FILE": 1}, "credits": 0.0, "rows": {}}
    result = Landed.of(plan, [landing, landing], unsent)
    assert result.by_status == Counter(PROCESSED=4, SKIPPED=1)
    assert result.credits == 5.0
    assert result.figures()["rows"] == {"invoice": 4}


def test_rows_and_credits_of_a_chunks_rounds_add_up_and_the_last_one_counts_the_documents() -> None:
    first = {"by_status": {"PROCESSED": 2, "FAILED": 2}, "credits": 2.5, "rows": {"invoice": 2, "tags": 1}}
    second = {"by_status": {"PROCESSED": 4}, "credits": 1.0, "rows": {"invoice": 2}}
    assert sum_of_rounds([first, second]) == {
        "by_status": {"PROCESSED": 4},
        "credits": 3.5,
        "rows": {"invoice": 4, "tags": 1},
    }


def test_documents_that_wait_for_a_person_are_counted_and_logged() -> None:
    plan = Plan(discovered=7, to_send=7)
    first = {"by_status": {"PROCESSED": 3, "NEEDS_REVIEW": 2}, "held": 2, "credits": 1.0}
    second = {"by_status": {"PROCESSED": 2}, "held": 1}
    result = Landed.of(plan, [first, second], {})
    counts = result.figures()
    assert (counts["in_review"], counts["held_for_approval"]) == (2, 3)
    assert "2 documents wait for a reviewer at Extend." in result.describe()
    assert "3 documents are held back until somebody approves them" in result.describe()


def test_the_log_does_not_mention_waiting_if_nothing_waits() -> None:
    result = landed(PROCESSED=1)
    assert (result.figures()["in_review"], result.figures()["held_for_approval"]) == (0, 0)
    assert "wait" not in result.describe()
    assert "held" not in result.describe()
