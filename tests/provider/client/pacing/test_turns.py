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
    turns.change(100.1, rate=1)
    assert [turns.moment(number) for number in numbers[1:]] == [100.25, 101.25, 102.25]


def test_a_turn_given_back_goes_to_the_next_who_asks() -> None:
    turns = Turns(100, rate=4)
    numbers = [turns.take(100) for _ in range(3)]
    turns.give_back(numbers[1])
    assert [turns.take(100) for _ in range(2)] == [1, 3]
    turns.give_back(numbers[0])
    assert turns.take(160) > 3, "its moment is over"
