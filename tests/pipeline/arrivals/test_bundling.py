"""When the documents that have arrived are announced: by number, by time, and once."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from extend_pipeline.arrivals.bundling import REMIND_AFTER, Announcement, Bundle, Bundling

AT_LEAST, OR_AFTER = 50, 300.0


def bundling() -> Bundling:
    return Bundling(at_least=AT_LEAST, or_after=OR_AFTER)


def bundle(documents: int, written: float, name: str = "a") -> Bundle:
    return Bundle(name, documents, written)


def test_enough_documents_are_announced_at_once() -> None:
    waiting = [bundle(20, 0, "a"), bundle(30, 0, "b")]
    assert bundling().decide(waiting[:1], 0) is None
    assert bundling().decide(waiting, 0) == Announcement(bundles=2, documents=50)


def test_few_documents_are_announced_when_the_first_has_waited_long_enough() -> None:
    waiting = [bundle(1, 10, "a"), bundle(1, 300, "b")]
    subject = bundling()
    assert subject.next_in(waiting, 100) == 210
    assert subject.decide(waiting, 309) is None
    assert subject.decide(waiting, 310) == Announcement(2, 2)


def test_nothing_is_announced_while_nothing_waits() -> None:
    assert bundling().decide([], 1e9) is None
    assert bundling().next_in([], 0) == math.inf


def test_what_arrives_before_the_run_comes_is_not_announced_again() -> None:
    subject = bundling()
    first = bundle(50, 0, "a")
    assert subject.decide([first], 0)
    assert subject.decide([first, bundle(500, 1, "b")], 600) is None
    assert subject.next_in([first], 600) == REMIND_AFTER - 600


def test_what_the_run_did_not_take_is_announced_anew() -> None:
    subject = bundling()
    assert subject.decide([bundle(50, 0, "a"), bundle(50, 0, "b")], 0)
    assert subject.decide([bundle(50, 0, "b")], 1) == Announcement(1, 50)


def test_an_announcement_that_no_run_follows_is_repeated() -> None:
    subject, waiting = bundling(), [bundle(1, 0)]
    assert subject.decide(waiting, 300)
    assert subject.decide(waiting, 300 + REMIND_AFTER - 1) is None
    assert subject.decide(waiting, 300 + REMIND_AFTER) == Announcement(1, 1)
    assert subject.decide(waiting, 301 + REMIND_AFTER) is None


def test_a_trigger_that_begins_anew_announces_what_it_finds() -> None:
    waiting = [bundle(50, 0)]
    assert bundling().decide(waiting, 0)
    assert bundling().decide(waiting, 0)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 80), st.booleans()), min_size=1, max_size=40))
def test_every_bundle_is_announced_in_time_and_no_more_often_than_runs_come(
    steps: list[tuple[int, int, bool]],
) -> None:
    subject, waiting, now, announced, runs = bundling(), list[Bundle](), 0.0, 0, 0
    pending = False
    for number, (pause, documents, run_comes) in enumerate(steps):
        now += pause
        waiting.append(bundle(documents, now, str(number)))
        if subject.decide(waiting, now):
            announced += 1
            pending = True
        due = sum(each.documents for each in waiting) >= AT_LEAST or waiting[0].written + OR_AFTER <= now
        assert pending or not due
        if run_comes and pending:
            waiting, pending = [], False
            runs += 1
    assert announced <= runs + 1
