"""How long after its last run a batch is noticed, and in how many polls: simulated, beside plain polling.

Plain polling is what was done before: each wait polls at once, and then whenever it likes.
"""

from __future__ import annotations

import heapq
import random
import statistics
from typing import NamedTuple

import pytest

from extend_provider.batch.waiting.budget import ReadBudget, Turn
from extend_provider.batch.waiting.experience import Experience
from extend_provider.batch.waiting.pacer import Pacer, Seen
from extend_provider.batch.waiting.timing import Timing

RUNS = 20
#: Seconds before which a trigger does not report.
EARLIEST = 7.0


class Noticed(NamedTuple):
    """Mean seconds from the last run to the report, all polls, and the polls of the first minute."""

    late: float
    polls: int
    first_minute: int


def noticed(ends: list[float], *, plain: bool, rate: float = 75.0, known: float | None = None) -> Noticed:
    """Let batches begin together, each of which ends at a moment, with all of its runs in the last tenth.

    :param plain: poll without a budget and without experience.
    :param known: when the first run of an earlier batch of the workflow had ended.
    """
    now, chance = 0.0, random.Random(7)
    budget = ReadBudget(lambda: rate, clock=lambda: now)
    experience = Experience()
    if known is not None:
        experience.learn(Timing("w", known, known * 1.1), RUNS)
    waits = [Pacer(5.0, 60.0, chance.random) for _ in ends]
    turns: dict[int, Turn] = {}
    due: list[tuple[float, int]] = []
    late: list[float] = []
    polls: list[float] = []
    shown = [0] * len(ends)
    for number, pacer in enumerate(waits):
        if not plain:
            pacer.experience = experience
            first = pacer.first(now=0, soonest=EARLIEST, is_crowded=budget.stretch() > 1)
            turns[number] = budget.join(first, chance=chance.random())
        due.append((0.0, number))
    while due:
        now, number = heapq.heappop(due)
        if not plain and (wait := turns[number].wait()) > 0:
            heapq.heappush(due, (now + max(wait, 0.001), number))
            continue
        polls.append(now)
        end, pacer = ends[number], waits[number]
        settled = int(RUNS * min(max(0.0, now / end - 0.9) * 10, 1.0)) if now < end else RUNS
        if settled == RUNS:
            late.append(max(now, EARLIEST) - max(end, EARLIEST))
            if not plain:
                turns[number].leave()
            continue
        timing = Timing("w", 0.9 * end, now) if settled else None
        pacer.polled(Seen(RUNS, settled, changed=settled != shown[number], timing=timing), now=now)
        shown[number] = settled
        delay = pacer.next(now=now, remaining=1e9)
        if plain:
            heapq.heappush(due, (now + delay, number))
        else:
            turns[number].asked(delay, 1)
            heapq.heappush(due, (now, number))
    return Noticed(statistics.mean(late), len(polls), sum(moment < 60 for moment in polls))


def alone(ends: list[float], *, plain: bool, known: float | None = None) -> float:
    """Return the mean delay of batches of which each waits alone."""
    return statistics.mean(noticed([end], plain=plain, known=known).late for end in ends)


@pytest.mark.parametrize(("shortest", "longest"), [(1, 30), (30, 120), (120, 900)])
def test_a_lone_batch_is_noticed_as_soon_as_before(shortest: float, longest: float) -> None:
    ends = [shortest + (longest - shortest) * share / 200 for share in range(200)]
    before = alone(ends, plain=True)
    assert alone(ends, plain=False) <= before * 1.02
    assert alone(ends, plain=False, known=shortest) <= before * 1.02, "nor does experience make it slower"


@pytest.mark.parametrize(("waits", "rate"), [(100, 75.0), (1000, 75.0), (1000, 10.0)])
def test_many_batches_keep_the_share_and_are_noticed_by_what_it_allows(waits: int, rate: float) -> None:
    chance = random.Random(3)
    ends = [chance.uniform(60, 600) for _ in range(waits)]
    shared = noticed(ends, plain=False, rate=rate)
    assert shared.first_minute < 0.2 * rate * 60
    # A round of polls takes this long, and the last one comes within a minute of that.
    assert shared.late < 60 + waits / (0.15 * rate)
    assert shared.polls < noticed(ends, plain=True).polls


def test_a_thousand_batches_polled_plainly_would_exceed_the_share() -> None:
    assert noticed([600.0] * 1000, plain=True).first_minute > 0.2 * 75 * 60
