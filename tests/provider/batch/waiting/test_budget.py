"""The polls of a thousand waits, simulated: how many a minute holds, and that no wait is forgotten."""

from __future__ import annotations

import heapq
import random

import pytest

from extend_provider.batch.waiting.budget import LEAST, ReadBudget
from extend_provider.batch.waiting.pacer import Pacer, Seen


def simulated(waits: int, *, minutes: int, rate: float = 75.0) -> tuple[list[float], dict[int, list[float]]]:
    """Return the moments of all polls, and those of each wait, of batches that only queue."""
    now = 0.0
    chance = random.Random(1)
    budget = ReadBudget(lambda: rate, clock=lambda: now)
    pacers = [Pacer(5.0, 60.0, chance.random) for _ in range(waits)]
    turns = [
        budget.join(each.first(now=0, soonest=5, is_crowded=False), chance=chance.random()) for each in pacers
    ]
    due = [(0.0, number) for number in range(waits)]
    polls: list[float] = []
    of_wait: dict[int, list[float]] = {number: [] for number in range(waits)}
    while due[0][0] < minutes * 60:
        now, number = heapq.heappop(due)
        wait = turns[number].wait()
        if wait <= 0:
            polls.append(now)
            of_wait[number].append(now)
            pacers[number].polled(Seen(20, 0), now=now)
            turns[number].asked(pacers[number].next(now=now, remaining=1e9), 1)
        heapq.heappush(due, (now + max(wait, 0.001), number))
    return polls, of_wait


@pytest.mark.parametrize("rate", [10.0, 75.0])
def test_a_thousand_waits_keep_their_share_from_the_first_minute(rate: float) -> None:
    polls, of_wait = simulated(1000, minutes=20, rate=rate)
    for minute in range(20):
        assert sum(minute * 60 <= moment < minute * 60 + 60 for moment in polls) < 0.2 * rate * 60
    assert all(of_wait.values()), "no batch is forgotten"


def test_a_lone_wait_is_asked_about_as_often_as_it_wishes() -> None:
    _, of_wait = simulated(1, minutes=2)
    first, second, *_ = of_wait[0]
    assert first <= 5
    assert second - first <= 6.01


def test_a_short_wish_comes_sooner_than_a_long_one_when_there_is_no_room() -> None:
    now = 0.0
    budget = ReadBudget(lambda: 10.0, clock=lambda: now)
    near = budget.join(5.0, chance=0.999)
    far = [budget.join(60.0, chance=0.999) for _ in range(1000)]
    assert budget.stretch() > 10
    now = 5 * budget.stretch()
    assert near.wait() == 0
    assert all(each.wait() > 0 for each in far)
    for each in far:
        each.leave()
    assert budget.stretch() == 1
    assert len(budget._wishes) == 1, "a wait that has ended takes no memory"


def test_a_tiny_limit_still_lets_a_lone_batch_be_asked_about() -> None:
    budget = ReadBudget(lambda: 0.01, clock=lambda: 0.0)
    budget.join(1 / LEAST, chance=0.5)
    assert budget.stretch() == 1
