"""The line of turns: evenly apart, moved by a stop or another pace, and never saved up."""

from __future__ import annotations

import pytest

from extend_provider.client.pacing.turns import CATCH_UP, Turns


def moments(turns: Turns, count: int, now: float) -> list[float]:
    return [turns.moment(turns.take(now)) for _ in range(count)]


def test_turns_are_evenly_apart() -> None:
    assert moments(Turns(100, rate=4), 4, now=100) == [100, 100.25, 100.5, 100.75]


def test_an_idle_time_saves_nothing_up_but_a_late_wake_is_caught_up() -> None:
    turns = Turns(100, rate=4)
    assert moments(turns, 2, now=160) == pytest.approx([160 - CATCH_UP, 160.25 - CATCH_UP])


def test_a_stop_moves_the_turns_that_have_not_come_and_keeps_their_distance() -> None:
    turns = Turns(100, rate=4)
    numbers = [turns.take(100) for _ in range(4)]
    turns.stop(100.3, until=110)
    assert [turns.moment(number) for number in numbers[2:]] == [110, 110.25]
    turns.stop(100.3, until=105)
    assert [turns.moment(number) for number in numbers[2:]] == [110, 110.25], (
        "a shorter stop ends no longer one"
    )


def test_another_pace_moves_the_turns_that_have_not_come() -> None:
    turns = Turns(100, rate=4)
    numbers = [turns.take(100) for _ in range(4)]
    turns.change(100.1, rate=1, period=1)
    assert [turns.moment(number) for number in numbers[1:]] == [100.25, 101.25, 102.25]


def test_a_turn_given_back_goes_to_the_next_who_asks() -> None:
    turns = Turns(100, rate=4)
    numbers = [turns.take(100) for _ in range(3)]
    turns.give_back(numbers[1])
    assert [turns.take(100) for _ in range(2)] == [1, 3]
    turns.give_back(numbers[0])
    assert turns.take(160) > 3, "its moment is over"


def test_turns_that_come_early_are_paid_back_however_slowly_they_are_taken() -> None:
    turns = Turns(100, rate=20, burst=5)
    early = [turns.moment(turns.take(now)) for now in (100, 100.01, 100.03, 100.05, 100.06)]
    assert early == [100] * 5
    assert moments(turns, 2, now=100.07) == pytest.approx([100.25, 100.3])


def test_a_stop_ends_a_burst_and_what_came_early_is_paid_back_at_the_pace_of_then() -> None:
    turns = Turns(100, rate=20, burst=5)
    assert moments(turns, 2, now=100) == [100, 100]
    turns.stop(100, until=100.01)
    turns.change(100, rate=1, period=1)
    assert moments(turns, 2, now=100) == pytest.approx([100.1, 101.1])


def test_a_burst_is_allowed_again_after_an_idle_time_that_begins_when_all_is_paid_back() -> None:
    turns = Turns(100, rate=5, period=1, burst=3)
    assert moments(turns, 2, now=100) == [100] * 2
    # Paid back at 100.4, so it is idle from then on.
    assert moments(turns, 2, now=101.35) == pytest.approx([101.33, 101.53])
    assert len(set(moments(turns, 3, now=103))) == 1


def test_another_pace_does_not_end_a_burst_and_a_stop_before_it_only_moves_it() -> None:
    turns = Turns(100, rate=5, burst=3)
    turns.stop(100, until=101)
    assert moments(turns, 1, now=101) == [101]
    turns.change(101, rate=10, period=1)
    assert moments(turns, 3, now=101) == pytest.approx([101, 101, 101.3])


def test_after_a_late_turn_no_period_has_more_than_the_pace_allows() -> None:
    turns = Turns(100, rate=4)
    numbers = [turns.take(100) for _ in range(6)]
    assert [turns.use(number, 100.24) for number in numbers[:2]] == [0, pytest.approx(0.01)]
    assert [turns.use(number, 100.5 + 0.25 * n) for n, number in enumerate(numbers[2:4])] == [0, 0]
    assert turns.use(numbers[1], 100.9) == 0
    assert turns.use(numbers[4], 101) == pytest.approx(0.24), "four were used since 100.24"
    assert turns.use(numbers[4], 101.24) == 0
    assert turns.use(numbers[5], 101.25) == pytest.approx(0.25), "its own moment does not count any more"


def test_another_pace_does_not_let_a_turn_pass_that_is_one_too_many() -> None:
    turns = Turns(100, rate=4)
    numbers = [turns.take(100) for _ in range(5)]
    assert [turns.use(number, 100.5 + n / 100) for n, number in enumerate(numbers[:3])] == [0, 0, 0]
    assert turns.use(numbers[3], 100.75) == 0
    turns.change(100.99, rate=3.999, period=1)
    assert turns.use(numbers[4], 101.1) == pytest.approx(0.4), "four were used since 100.5"


def test_a_burst_is_not_held_up_by_what_was_used_before_it() -> None:
    turns = Turns(100, rate=1, burst=3)
    assert [turns.use(turns.take(100), 100) for _ in range(4)] == [0, 0, 0, 3]
    assert [turns.use(turns.take(110), 110) for _ in range(4)] == pytest.approx([0, 0, 0, 3 - CATCH_UP])
    assert len(turns._used) == 3, "what is over is forgotten"


def test_what_may_have_arrived_late_counts_for_as_much_longer() -> None:
    turns = Turns(100, rate=4)
    for now in (100, 100.25, 100.5, 100.75):
        assert turns.use(turns.take(now), now) == 0
    turns.came_late(100, 0.1)
    turns.came_late(100.25, 0.8)
    fifth = turns.take(101)
    assert turns.use(fifth, 101) == pytest.approx(0.1)
    assert turns.use(fifth, 101.1) == 0
    sixth = turns.take(101.25)
    assert turns.use(sixth, 101.25) == pytest.approx(0.25), "as long as the third"
    assert turns.use(sixth, 101.5) == 0
    seventh = turns.take(101.75)
    assert turns.use(seventh, 101.75) == 0
    assert turns.use(turns.take(110), 110) == 0
    assert not turns._late
