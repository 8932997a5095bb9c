"""When a wait looks into its inbox, when it asks Extend, and what a partial inbox is worth: nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.batch.waiting.polling import Outcome, WaitPolicy
from extend_provider.batch.waiting.progress import BatchProgress, InboxProgress, OnNeedsReview
from extend_provider.batch.waiting.watching import (
    DELIVERY_SECONDS,
    FIRST_SILENCE,
    LISTED_COST,
    LONGEST_LOOK,
    LONGEST_SILENCE,
    LONGEST_STRETCH,
    LOOK_BUDGET,
    LOOK_COST,
    SHORTEST_LOOK,
    InboxPoller,
    next_look,
)
from extend_provider.exceptions import ExtendServerError

HOUR = 3600.0
DAY = 24 * HOUR


def poller(on_needs_review: OnNeedsReview = "land", **policy: Any) -> InboxPoller:
    made = WaitPolicy(
        **{"deadline": 7 * DAY, "poll_interval": 60.0, **policy}, on_needs_review=on_needs_review
    )
    return InboxPoller(made, chance=lambda: 0.5)


def arrived(expected: int, **by_status: int) -> InboxProgress:
    return InboxProgress(expected, by_status)


def listed(expected: int, **by_status: int) -> BatchProgress:
    return BatchProgress(expected, by_status)


def polls(
    watch: InboxPoller, inbox: InboxProgress, listing: BatchProgress, *, until: float
) -> Iterator[float]:
    """Let time pass while neither inbox nor listing changes; yield when Extend is asked."""
    now = 0.0
    while now < until:
        result = watch.looked(inbox, now=now)
        if watch.is_poll_due(now):
            yield now
            result = watch.polled(listing, now=now)
        assert not result.is_final
        now += max(result.delay, 0.001)


def test_a_complete_inbox_ends_the_wait_without_a_poll() -> None:
    watch = poller()
    assert watch.looked(arrived(1000, PROCESSED=999), now=0).outcome is Outcome.WAIT
    assert not watch.is_poll_due(0)
    ended = watch.looked(arrived(1000, PROCESSED=990, FAILED=10), now=1)
    assert ended.outcome is Outcome.DONE
    assert ended.progress == {
        "summary": "1,000 of 1,000 settled, 10 failed",
        "expected": 1000,
        "listed": 1000,
        "settled": 1000,
        "by_status": {"FAILED": 10, "PROCESSED": 990},
    }


def test_half_an_inbox_is_no_listing_however_long_it_stays_so() -> None:
    """500 of 1,000 have settled and are in the inbox, the others are at work: none of them is missing."""
    watch = poller(missing_after=HOUR)
    at_work = listed(1000, PROCESSED=500, PROCESSING=500)
    asked = list(polls(watch, arrived(1000, PROCESSED=500), at_work, until=12 * HOUR))
    assert len(asked) > 10
    assert watch.looked(arrived(1000, PROCESSED=500), now=12 * HOUR).outcome is Outcome.WAIT


def test_runs_count_as_missing_by_extends_list_alone() -> None:
    watch = poller(missing_after=HOUR)
    short, now = listed(1000, PROCESSED=998), 0.0
    while True:
        watch.looked(arrived(1000, PROCESSED=998), now=now)
        result = watch.polled(short, now=now)
        if result.is_final:
            break
        now += result.delay
        assert result.delay <= 60, "the list is looked at as often as without an inbox"
    assert result.outcome is Outcome.RUNS_MISSING
    assert HOUR <= now < HOUR + 120


def test_extend_is_polled_after_minutes_of_silence_and_ever_more_seldom() -> None:
    idle = listed(10, PENDING=10)
    asked = list(polls(poller(), arrived(10), idle, until=4 * HOUR))
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert asked[0] == pytest.approx(FIRST_SILENCE, abs=1)
    assert gaps[0] == pytest.approx(2 * FIRST_SILENCE, abs=1)
    assert max(gaps) == pytest.approx(LONGEST_SILENCE, abs=1)


def test_extend_is_not_polled_while_webhooks_come() -> None:
    watch, now = poller(), 0.0
    for settled in range(1000):
        watch.looked(arrived(1001, PROCESSED=settled), now=now)
        assert not watch.is_poll_due(now)
        now += FIRST_SILENCE - 1


def test_a_longer_poll_interval_of_the_authors_is_kept() -> None:
    idle = listed(10, PENDING=10)
    first, second, *_ = polls(poller(poll_interval=1800.0), arrived(10), idle, until=3 * HOUR)
    assert [first, second - first] == pytest.approx([1800, 1800], abs=1)


def test_lost_webhooks_are_said_once_and_polled_for_as_without_an_inbox() -> None:
    watch = poller()
    half, now = arrived(1000, PROCESSED=450), 0.0
    listing = listed(1000, PROCESSED=900, PROCESSING=100)
    watch.looked(half, now=now)
    watch.polled(listing, now=now)
    watch.looked(half, now=DELIVERY_SECONDS - 1)
    assert not watch.take_notes()
    assert not watch.is_poll_due(DELIVERY_SECONDS - 1)
    watch.looked(half, now=DELIVERY_SECONDS)
    (note,) = watch.take_notes()
    assert "webhooks do not arrive: 900 runs had settled 60 s ago, and of 450 of them none" in note
    assert watch.is_poll_due(DELIVERY_SECONDS)
    now = DELIVERY_SECONDS
    for _ in range(20):
        result = watch.polled(listing, now=now)
        assert 0 < result.delay <= 60
        now += result.delay
        watch.looked(half, now=now)
        assert watch.is_poll_due(now)
    assert not watch.take_notes()


def test_a_webhook_that_comes_a_moment_after_the_poll_is_not_lost() -> None:
    watch = poller()
    watch.looked(arrived(10, PROCESSED=4), now=0)
    watch.polled(listed(10, PROCESSED=5, PROCESSING=5), now=0)
    watch.looked(arrived(10, PROCESSED=5), now=DELIVERY_SECONDS / 2)
    watch.looked(arrived(10, PROCESSED=5), now=2 * DELIVERY_SECONDS)
    assert not watch.take_notes()
    assert not watch.is_poll_due(2 * DELIVERY_SECONDS)


def test_an_inbox_that_was_cleaned_meanwhile_is_asked_about_at_once() -> None:
    """Another run with the same batch was quicker, and has landed it."""
    watch = poller()
    watch.looked(arrived(3, PROCESSED=2), now=0)
    watch.looked(arrived(3), now=1)
    assert watch.is_poll_due(1)


def test_more_runs_than_were_submitted_end_nothing_without_extends_list() -> None:
    """One of them is not of this batch, and one that was submitted may be at work."""
    watch = poller()
    assert watch.looked(arrived(3, PROCESSED=4), now=0).outcome is Outcome.WAIT
    assert watch.is_poll_due(0)
    assert "4 runs have arrived, and 3 were submitted" in watch.take_notes()[0]
    assert watch.polled(listed(3, PROCESSED=3, PROCESSING=1), now=0).outcome is Outcome.WAIT
    assert watch.polled(listed(3, PROCESSED=3), now=60).outcome is Outcome.DONE


def test_a_run_in_an_unknown_status_has_not_settled() -> None:
    assert poller().looked(arrived(2, PROCESSED=1, ON_HOLD=1), now=0).outcome is Outcome.WAIT


@pytest.mark.parametrize(
    ("policy", "outcome", "polled"),
    [("land", "done", False), ("wait", "wait", False), ("fail", "wait", True)],
)
def test_runs_in_review_are_handled_by_the_policy(policy: OnNeedsReview, outcome: str, polled: bool) -> None:
    """A task fails because of a review only if Extend says that it is not decided yet."""
    watch = poller(policy)
    in_review = arrived(2, PROCESSED=1, NEEDS_REVIEW=1)
    assert watch.looked(in_review, now=0).outcome.value == outcome
    assert watch.is_poll_due(0) == polled
    if policy == "fail":
        assert watch.polled(listed(2, PROCESSED=1, PROCESSING=1), now=0).outcome is Outcome.WAIT
        watch.looked(in_review, now=1)
        assert not watch.is_poll_due(1), "not at every look"
        assert watch.polled(listed(2, PROCESSED=1, NEEDS_REVIEW=1), now=60).outcome is Outcome.FAILED_REVIEW
    if policy == "wait":
        asked = list(polls(watch, in_review, listed(2, PROCESSED=1, NEEDS_REVIEW=1), until=DAY))
        assert len(asked) <= DAY / LONGEST_SILENCE + 3
        assert watch.looked(arrived(2, PROCESSED=2), now=DAY).outcome is Outcome.DONE


def test_an_inbox_that_cannot_be_read_is_said_once_and_extend_is_polled() -> None:
    watch, now = poller(), 0.0
    for _ in range(5):
        watch.unreadable(PermissionError("no"))
        assert watch.is_poll_due(now)
        result = watch.polled(listed(2, PROCESSING=2), now=now)
        assert result.delay <= 60 * 1.2
        now += result.delay
    assert len(watch.take_notes()) == 1
    watch.looked(arrived(2, PROCESSED=1), now=now)
    assert watch.shown == arrived(2, PROCESSED=1)
    assert watch.looked(arrived(2, PROCESSED=2), now=now).outcome is Outcome.DONE


def test_a_deadline_is_decided_by_a_poll() -> None:
    watch = poller(deadline=100.0)
    waiting = watch.looked(arrived(2, PROCESSED=1), now=99.5)
    assert waiting.delay == pytest.approx(0.5)
    assert watch.looked(arrived(2, PROCESSED=1), now=100).outcome is Outcome.WAIT
    assert watch.is_poll_due(100)
    assert watch.polled(listed(2, PROCESSED=1, PROCESSING=1), now=100).outcome is Outcome.TIMED_OUT


def test_an_outage_at_the_deadline_does_not_hide_what_has_arrived() -> None:
    watch = poller(deadline=100.0)
    watch.looked(arrived(2, PROCESSED=1), now=100)
    ended = watch.failed(ExtendServerError("down", retryable=True), now=100)
    assert ended.outcome is Outcome.TIMED_OUT
    assert "1 of 2 settled at the deadline" in ended.message
    assert "ever listed" not in ended.message


def test_an_outage_is_polled_through_as_without_an_inbox() -> None:
    watch = poller()
    watch.looked(arrived(2), now=0)
    result = watch.failed(ExtendServerError("down", retryable=True), now=0)
    assert 0 < result.delay <= 60
    assert watch.looked(arrived(2, PROCESSED=2), now=result.delay).outcome is Outcome.DONE


@given(
    st.integers(1, 1000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.floats(0, 7 * DAY),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)
def test_a_look_is_late_by_a_tenth_of_the_wait_at_the_most(
    counts: tuple[int, int], running: float, share: float, chance: float
) -> None:
    settled, expected = counts
    quiet = running * share
    inbox = arrived(expected, PROCESSED=settled)
    delay = next_look(inbox, running=running, quiet=quiet, waits=1, chance=chance)
    assert 0.8 * SHORTEST_LOOK <= delay <= 1.2 * LONGEST_LOOK
    assert delay <= 1.2 * max(0.1 * running, SHORTEST_LOOK)
    nearly = next_look(arrived(1000, PROCESSED=999), running=HOUR, quiet=5, waits=1, chance=chance)
    assert nearly <= 5, "seconds while the last ones arrive"


@pytest.mark.parametrize(
    ("waits", "listed_each", "seconds"),
    [(1, 999, 2), (10, 999, 4.2), (100, 999, 42), (1000, 0, 20), (1000, 999, 120)],
)
def test_all_waits_of_a_process_together_are_bounded(waits: int, listed_each: int, seconds: float) -> None:
    """A thousand batches on one triggerer cost a quarter of a processor, and 50 listings a second."""
    inbox = arrived(1000, PROCESSED=listed_each)
    quiet = 0.0 if listed_each else HOUR
    delay = next_look(inbox, running=HOUR, quiet=quiet, waits=waits, chance=0.5)
    assert delay == pytest.approx(seconds, rel=0.02)
    cost = waits * (LOOK_COST + LISTED_COST * listed_each) / delay
    assert cost <= max(LOOK_BUDGET, 0.9 if delay >= LONGEST_STRETCH else 0) * 1.01
