"""A wait ends when every run is listed and settled, or at its deadline, whatever is listed meanwhile."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from extend_provider.batch.waiting.polling import Outcome, Poller, PollResult, WaitPolicy
from extend_provider.batch.waiting.progress import SETTLED_STATUSES, InboxProgress, OnNeedsReview, RunCounter
from extend_provider.batch.waiting.watching import InboxPoller
from extend_provider.client.models import RunStatus, RunSummary
from extend_provider.exceptions import ExtendAuthError, ExtendServerError

DEADLINE = 1000.0
STATUSES = [*SETTLED_STATUSES, RunStatus.PENDING, RunStatus.PROCESSING, RunStatus.CANCELLING, "ON_HOLD", ""]
#: One poll: what became of each run listed, in the order and as often as the pages show it; or an error.
LISTING = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(STATUSES)), max_size=12)
POLL = LISTING | st.sampled_from([ExtendServerError("failed", retryable=True), TimeoutError("late")])
POLICY = st.builds(
    WaitPolicy,
    deadline=st.just(DEADLINE),
    poll_interval=st.floats(20, 900),
    on_needs_review=st.sampled_from(["land", "wait", "fail"]),
    max_poll_errors=st.none() | st.integers(0, 3),
)


def run(number: int, status: str) -> RunSummary:
    return RunSummary(id=f"run_{number}", status=status)


def counted(expected: int, listing: list[tuple[int, str]], page_size: int) -> RunCounter:
    counter = RunCounter(expected)
    for first in range(0, len(listing), page_size):
        counter.add(run(*each) for each in listing[first : first + page_size])
    return counter


def is_over(listing: list[tuple[int, str]], expected: int, on_needs_review: OnNeedsReview) -> bool:
    """Whether as many distinct runs are listed as were submitted and each has settled, said once more."""
    latest = dict(listing)
    in_review = RunStatus.NEEDS_REVIEW in latest.values()
    return (
        len(latest) >= expected
        and all(status in SETTLED_STATUSES for status in latest.values())
        and not (in_review and on_needs_review == "wait")
    )


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    POLICY,
    st.integers(1, 6),
    st.lists(POLL, max_size=8),
    st.integers(1, 5),
    st.floats(0, 1, exclude_max=True),
)
def test_done_means_counted_and_the_deadline_ends_every_wait(
    policy: WaitPolicy, expected: int, polls: list[Any], page_size: int, chance: float
) -> None:
    poller, now, errors = Poller(policy, chance=lambda: chance), 0.0, 0
    # When the script is over, the listing stays as it is: empty, which is "not yet" for ever.
    for _ in range(3000):
        poll = polls.pop(0) if polls else []
        if isinstance(poll, Exception):
            errors += 1
            result = poller.failed(poll, now=now)
        else:
            errors = 0
            result = poller.polled(counted(expected, poll, page_size).progress(), now=now)
            over = is_over(poll, expected, policy.on_needs_review)
            assert (result.outcome in (Outcome.DONE, Outcome.FAILED_REVIEW)) == over
        if result.is_final:
            assert PollResult.from_event(result.as_event()) == result
            break
        assert now < DEADLINE
        assert 0 <= result.delay <= policy.poll_interval
        assert now + result.delay <= DEADLINE
        # A delay is never so short that the wait hardly moves, unless it is the last one before the deadline.
        assert result.delay >= min(policy.shortest_interval, DEADLINE - now) - 1e-9
        now += result.delay
    assert result.is_final
    if result.outcome is Outcome.TIMED_OUT:
        assert now >= DEADLINE
    if result.outcome is Outcome.GAVE_UP:
        retryable = getattr(poll, "retryable", False)
        assert not retryable or errors > (policy.max_poll_errors or 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(STATUSES)), max_size=12), st.integers(1, 5))
def test_how_runs_are_spread_over_pages_and_repeated_makes_no_difference(
    listing: list[tuple[int, str]], page_size: int
) -> None:
    progress = counted(6, listing, page_size).progress()
    assert progress == counted(6, [*listing, *listing], page_size + 1).progress()
    assert progress.listed == len({number for number, _ in listing})
    assert progress.settled <= progress.listed


#: One moment of a wait with an inbox: what has arrived (None: it cannot be read), and what Extend would list.
MOMENT = st.tuples(st.none() | LISTING, POLL)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(POLICY, st.integers(1, 6), st.lists(MOMENT, max_size=12), st.floats(0, 1, exclude_max=True))
def test_with_an_inbox_only_a_count_of_all_runs_ends_a_wait_before_its_deadline(
    policy: WaitPolicy, expected: int, moments: list[Any], chance: float
) -> None:
    """Whatever arrives, in whichever order, and whatever is lost: a partial inbox ends nothing."""
    poller, now = InboxPoller(policy, chance=lambda: chance), 0.0
    for _ in range(3000):
        arrived, listing = moments.pop(0) if moments else ([], [])
        result = None
        if arrived is None:
            poller.unreadable(OSError("away"))
        else:
            result = poller.looked(InboxProgress(expected, Counter(dict(arrived).values())), now=now)
            latest = dict(arrived)
            in_review = RunStatus.NEEDS_REVIEW in latest.values() and policy.on_needs_review != "land"
            done = len(latest) == expected and set(latest.values()) <= SETTLED_STATUSES and not in_review
            assert result.outcome is (Outcome.DONE if done else Outcome.WAIT)
        polled = result is None or (not result.is_final and poller.is_poll_due(now))
        if polled and isinstance(listing, Exception):
            result = poller.failed(listing, now=now)
        elif polled:
            result = poller.polled(counted(expected, listing, 5).progress(), now=now)
            over = is_over(listing, expected, policy.on_needs_review)
            assert (result.outcome in (Outcome.DONE, Outcome.FAILED_REVIEW)) == over
        assert result is not None
        assert result.outcome is not Outcome.RUNS_MISSING
        if result.is_final:
            break
        assert now < DEADLINE
        assert 0 <= result.delay <= DEADLINE - now
        now += max(result.delay, 1e-6)
    assert result is not None
    assert result.is_final
    if result.outcome is Outcome.TIMED_OUT:
        assert now >= DEADLINE


def test_what_cannot_pass_by_itself_ends_the_wait_at_once() -> None:
    poller = Poller(WaitPolicy(deadline=DEADLINE, poll_interval=60))
    result = poller.failed(ExtendAuthError("no", status=401), now=0)
    assert result.outcome is Outcome.GAVE_UP
