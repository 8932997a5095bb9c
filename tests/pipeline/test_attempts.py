"""Which documents are sent once more: the decision alone, with every way in which runs can end."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.attempts import RunEnd, next_round

DONE = ("PROCESSED", "NEEDS_REVIEW", "REJECTED")
DOCUMENTS = [f"document {number}" for number in range(6)]


def again(*ends: RunEnd, sent: list[str] | None = None, whole: bool = False, number: int = 1) -> list[str]:
    return list(next_round(sent or ["a"], ends, known_whole=whole, number=number, max_attempts=3))


@pytest.mark.parametrize(
    ("status", "reason", "is_due"),
    [
        ("FAILED", "INTERNAL_ERROR", True),
        ("FAILED", "DOCUMENT_PROCESSOR_ERROR", True),
        ("CANCELLED", None, True),
        ("FAILED", "INVALID_WORKFLOW", False),
        ("FAILED", "FAILED_TO_PROCESS_FILE", False),
        ("FAILED", "A_REASON_OF_TOMORROW", False),
        ("FAILED", None, False),
        *((status, None, False) for status in DONE),
    ],
)
def test_only_a_failure_that_may_pass_is_worth_another_attempt(
    status: str, reason: str | None, is_due: bool
) -> None:
    assert again(RunEnd("a", status, reason), whole=True) == (["a"] if is_due else [])


ENDED = dt.datetime(2026, 11, 22, 2, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize("reason", ["FAILED_TO_PROCESS_FILE", "UNABLE_TO_DOWNLOAD_FILE"])
@pytest.mark.parametrize(
    ("started_at", "urls_end", "is_due"),
    [
        pytest.param("2026-11-22T02:30:00.000Z", ENDED, True, id="began when its URL ended"),
        pytest.param("2026-11-22T04:00:00+01:00", ENDED, True, id="began later"),
        pytest.param("2026-11-22T03:00:00", ENDED, True, id="a time without a zone is UTC"),
        pytest.param("2026-11-22T02:29:00.001Z", ENDED, True, id="may have read the file too late"),
        pytest.param("2026-11-22T02:28:59.999Z", ENDED, False, id="began in time"),
        pytest.param(None, ENDED, False, id="nobody knows when"),
        pytest.param("2026-11-22T03:00:00Z", None, False, id="uploaded"),
    ],
)
def test_a_file_whose_url_had_ended_before_extend_began_is_sent_with_a_fresh_one(
    reason: str, started_at: str | None, urls_end: dt.datetime | None, is_due: bool
) -> None:
    end = RunEnd("a", "FAILED", reason, started_at)
    assert next_round(["a"], [end], known_whole=True, number=1, max_attempts=3, urls_end=urls_end) == (
        ("a",) if is_due else ()
    )
    last = next_round(["a"], [end], known_whole=True, number=3, max_attempts=3, urls_end=urls_end)
    assert last == ()


def test_an_ended_url_excuses_no_other_failure() -> None:
    for status, reason in (("FAILED", "INVALID_WORKFLOW"), ("PROCESSED", None), ("REJECTED", None)):
        assert not RunEnd("a", status, reason, "2026-11-22T03:00:00Z").may_pass(ENDED)


def test_a_document_without_a_run_is_due_only_if_every_run_is_known() -> None:
    assert again(whole=True) == ["a"]
    assert again(whole=False) == []


def test_one_run_that_went_well_is_enough() -> None:
    assert again(RunEnd("a", "CANCELLED"), RunEnd("a", "PROCESSED"), whole=True) == []
    assert again(RunEnd("a", "CANCELLED"), RunEnd("a", "FAILED", "INVALID_WORKFLOW")) == []


def test_a_run_of_another_document_or_of_none_sends_nothing() -> None:
    assert again(RunEnd("b", "CANCELLED"), RunEnd(None, "CANCELLED"), sent=["a"]) == []


def test_the_last_attempt_is_the_last() -> None:
    assert again(RunEnd("a", "CANCELLED"), number=2) == ["a"]
    assert again(RunEnd("a", "CANCELLED"), number=3) == []


ends = st.tuples(
    st.sampled_from(["PROCESSED", "NEEDS_REVIEW", "REJECTED", "FAILED", "CANCELLED", "gone"]),
    st.sampled_from([None, "INTERNAL_ERROR", "DOCUMENT_PROCESSOR_ERROR", "FAILED_TO_PROCESS_FILE"]),
)


@given(data=st.data(), max_attempts=st.integers(1, 5))
def test_however_runs_end_no_document_is_sent_too_often_or_again_after_it_went_well(
    data: st.DataObject, max_attempts: int
) -> None:
    """Drive a chunk through its rounds; what each look sees of the runs that went well is left to chance."""
    due, times, finished = DOCUMENTS, Counter[str](), set[str]()
    number = 0
    while due:
        number += 1
        assert not finished & set(due)
        assert len(set(due)) == len(due)
        times.update(due)
        ended = {document: data.draw(ends, label=f"{document}, round {number}") for document in due}
        runs = [RunEnd(one, status, reason) for one, (status, reason) in ended.items() if status != "gone"]
        whole = len(runs) < len(due) or data.draw(st.booleans(), label="every run is looked up")
        seen = [run for run in runs if whole or run.status in ("FAILED", "CANCELLED")]
        finished |= {one for one, (status, _) in ended.items() if status in DONE}
        permanent = {one for one, end in ended.items() if end == ("FAILED", "FAILED_TO_PROCESS_FILE")}
        following = next_round(due, seen, known_whole=whole, number=number, max_attempts=max_attempts)
        assert not permanent & set(following)
        if number < max_attempts:
            passing = {
                one
                for one, (status, reason) in ended.items()
                if status in ("CANCELLED", "gone")
                or (status == "FAILED" and reason in ("INTERNAL_ERROR", "DOCUMENT_PROCESSOR_ERROR"))
            }
            assert set(following) == passing
        due = list(following)
    assert max(times.values()) <= max_attempts
