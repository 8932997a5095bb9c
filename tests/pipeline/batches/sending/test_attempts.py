"""Which documents are sent once more: the decision alone, with every way in which runs can end."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.batches.sending.attempts import (
    Evidence,
    RunEnd,
    documents_without_run,
    merged,
    next_round,
    tolerated_missing,
)

DONE = ("PROCESSED", "NEEDS_REVIEW", "REJECTED")
DOCUMENTS = [f"document {number}" for number in range(6)]


def seen(sent: list[str], ends: Iterable[RunEnd], *, whole: bool) -> Evidence:
    ends = tuple(ends)
    return Evidence(ends=ends, without_run=documents_without_run(sent, ends) if whole else ())


def again(*ends: RunEnd, sent: list[str] | None = None, whole: bool = False, number: int = 1) -> list[str]:
    # Two more, which went well: of a batch with no run at all nothing is sent again.
    fine = [RunEnd("fine", "PROCESSED"), RunEnd("well", "PROCESSED")]
    documents = [*(sent or ["a"]), "fine", "well"]
    evidence = seen(documents, [*ends, *fine], whole=whole)
    return list(next_round(documents, evidence, number=number, max_attempts=3))


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
def test_only_a_transient_failure_gets_another_attempt(status: str, reason: str | None, is_due: bool) -> None:
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
def test_a_file_whose_url_expired_before_the_run_started_is_sent_with_a_fresh_url(
    reason: str, started_at: str | None, urls_end: dt.datetime | None, is_due: bool
) -> None:
    end = RunEnd("a", "FAILED", reason, started_at)
    evidence = Evidence(ends=(end,))
    assert next_round(["a"], evidence, number=1, max_attempts=3, urls_end=urls_end) == (
        ("a",) if is_due else ()
    )
    last = next_round(["a"], evidence, number=3, max_attempts=3, urls_end=urls_end)
    assert last == ()


def test_an_expired_url_makes_no_other_failure_temporary() -> None:
    for status, reason in (("FAILED", "INVALID_WORKFLOW"), ("PROCESSED", None), ("REJECTED", None)):
        assert not RunEnd("a", status, reason, "2026-11-22T03:00:00Z").is_transient(ENDED)


def test_a_document_without_a_run_is_due_only_if_every_run_is_known() -> None:
    assert again(whole=True) == ["a"]
    assert again(whole=False) == []


def test_a_document_with_one_successful_run_is_not_sent_again() -> None:
    assert again(RunEnd("a", "CANCELLED"), RunEnd("a", "PROCESSED"), whole=True) == []
    assert again(RunEnd("a", "CANCELLED"), RunEnd("a", "FAILED", "INVALID_WORKFLOW")) == []


def test_a_run_of_another_document_or_of_none_sends_nothing() -> None:
    assert again(RunEnd("b", "CANCELLED"), RunEnd(None, "CANCELLED"), sent=["a"]) == []


def test_no_document_is_sent_after_the_last_attempt() -> None:
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
        found = [run for run in runs if whole or run.status in ("FAILED", "CANCELLED")]
        finished |= {one for one, (status, _) in ended.items() if status in DONE}
        permanent = {one for one, end in ended.items() if end == ("FAILED", "FAILED_TO_PROCESS_FILE")}
        evidence = seen(due, found, whole=whole)
        following = next_round(due, evidence, number=number, max_attempts=max_attempts)
        assert not permanent & set(following)
        if number < max_attempts:
            passing = {
                one
                for one, (status, reason) in ended.items()
                if status == "CANCELLED"
                or (status == "gone" and len(due) - len(runs) <= tolerated_missing(len(due)))
                or (status == "FAILED" and reason in ("INTERNAL_ERROR", "DOCUMENT_PROCESSOR_ERROR"))
            }
            assert set(following) == passing
        due = list(following)
    assert max(times.values()) <= max_attempts


@pytest.mark.parametrize(
    ("submitted", "tolerated"),
    [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (12, 3), (40, 4), (100, 10), (500, 50), (1000, 50)],
)
def test_few_runs_that_were_never_listed_are_sent_again_and_never_all(submitted: int, tolerated: int) -> None:
    assert tolerated_missing(submitted) == tolerated


@pytest.mark.parametrize(("missing", "sent_again"), [(10, 10), (11, 0)])
def test_documents_beyond_the_bound_are_not_sent_and_are_doubtful_until_accepted(
    missing: int, sent_again: int
) -> None:
    sent = [f"document {number}" for number in range(100)]
    ends = tuple(RunEnd(document, "PROCESSED") for document in sent[missing:])
    evidence = Evidence(missing=missing, ends=ends, without_run=documents_without_run(sent, ends))
    accepted = msgspec.structs.replace(evidence, accepted=missing)
    for known in (evidence, accepted):
        assert len(next_round(sent, known, number=1, max_attempts=3)) == sent_again
    assert evidence.is_doubtful(100) == (not sent_again)
    assert evidence.allowed_missing(100) == sent_again
    assert not accepted.is_doubtful(100)
    assert accepted.allowed_missing(100) == missing


def test_a_run_that_names_no_document_hides_which_one_is_missing() -> None:
    assert documents_without_run(["a", "b", "c"], [RunEnd("a", "PROCESSED")]) == ("b", "c")
    assert documents_without_run(["a", "b", "c"], [RunEnd(None, "PROCESSED")]) == ()
    assert documents_without_run(["a", "b", "c"], [RunEnd("of another batch", "PROCESSED")]) == ()


STATUS = st.sampled_from(["PROCESSED", "FAILED", "CANCELLED", "gone", "never"])


@given(
    first=st.lists(STATUS, min_size=4, max_size=20),
    losses=st.lists(st.sets(st.integers(0, 19)), max_size=4),
    whole=st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_runs_deleted_after_a_look_make_no_document_look_unsent(
    first: list[str], losses: list[set[int]], whole: list[bool]
) -> None:
    """Look at one round several times, runs being deleted in between; ``never`` are those that never ran."""
    sent = [f"document {number}" for number in range(len(first))]
    there = dict(enumerate(first))
    never = {sent[number] for number, status in there.items() if status in ("never", "gone")}
    known: Evidence | None = None
    due: list[set[str]] = []
    for lost, looked_up in zip([set[int](), *losses], whole, strict=False):
        there = {n: "gone" if n in lost and s != "never" else s for n, s in there.items()}
        runs = {n: s for n, s in there.items() if s not in ("never", "gone")}
        every = looked_up or len(runs) < len(sent)
        ends = [
            RunEnd(sent[n], s, "INTERNAL_ERROR" if s == "FAILED" else None, run_id=f"run {n}")
            for n, s in runs.items()
            if every or s != "PROCESSED"
        ]
        known = merged(
            known,
            seen(sent, ends, whole=every),
            not_failed={f"run {n}" for n, s in runs.items() if s == "PROCESSED"},
        )
        due.append(set(next_round(sent, known, number=1, max_attempts=2)))
    passing = {sent[n] for n, s in enumerate(first) if s in ("FAILED", "CANCELLED")}
    for each in due:
        assert passing <= each <= passing | never
    assert due == sorted(due, key=len, reverse=True)


def test_a_run_that_went_well_after_all_is_not_sent_again() -> None:
    before = Evidence(ends=(RunEnd("a", "CANCELLED", run_id="run"), RunEnd("b", "CANCELLED", run_id="other")))
    now = merged(before, Evidence(), not_failed={"run"})
    assert next_round(["a", "b"], now, number=1, max_attempts=2) == ("b",)
    now = merged(before, Evidence(ends=(RunEnd("a", "FAILED", "INVALID_WORKFLOW", run_id="run"),)))
    assert next_round(["a", "b"], now, number=1, max_attempts=2) == ("b",)


def test_accepted_missing_runs_stay_accepted() -> None:
    assert merged(Evidence(accepted=7), Evidence(missing=7)).allowed_missing(10) == 7
    assert merged(Evidence(), Evidence(missing=7, accepted=7)).allowed_missing(10) == 7
    assert merged(Evidence(accepted=7), Evidence(missing=8)).allowed_missing(10) == 0


def test_a_document_whose_run_went_well_unseen_and_is_deleted_later_is_not_sent_again() -> None:
    sent = ["a", "b", "c", "d"]
    whole_list = seen(sent, [RunEnd("d", "FAILED", "INVALID_WORKFLOW", run_id="run d")], whole=False)
    left = [RunEnd(one, "PROCESSED", run_id=f"run {one}") for one in ("b", "c")]
    later = seen(sent, left, whole=True)
    assert next_round(sent, later, number=1, max_attempts=2) == ("a", "d")
    assert next_round(sent, merged(whole_list, later), number=1, max_attempts=2) == ()
