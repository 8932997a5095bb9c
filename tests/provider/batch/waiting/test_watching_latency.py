"""When a wait ends after its last run, and what it asks of Extend: by webhooks and by polling, simulated."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable
from typing import NamedTuple

import pytest

from extend_provider.batch.waiting.polling import Poller, WaitPolicy
from extend_provider.batch.waiting.progress import BatchProgress, InboxProgress
from extend_provider.batch.waiting.watching import InboxPoller

EXPECTED = 1000
POLICY = WaitPolicy(deadline=1e9, poll_interval=60.0)
#: How many of the runs have settled after a share of the batch's time.
PROFILES: dict[str, Callable[[float], float]] = {
    "evenly": lambda share: share,
    "queued, then at once": lambda share: max(0.0, (share - 0.9) * 10),
    "one late": lambda share: min(share * 2, 0.999) if share < 1 else 1.0,
}


class Ended(NamedTuple):
    """Seconds from the last run to the end of the wait, and lists asked for."""

    late: float
    lists: int


def by_polling(settled: Callable[[float], int], over: float, chance: Callable[[], float]) -> Ended:
    poller, now = Poller(POLICY, chance=chance), 0.0
    for lists in itertools.count(1):
        done = settled(now)
        progress = BatchProgress(EXPECTED, {"PROCESSED": done, "PROCESSING": EXPECTED - done})
        result = poller.polled(progress, now=now)
        if result.is_final:
            return Ended(now - over, lists)
        now += result.delay
    raise AssertionError


def by_webhooks(settled: Callable[[float], int], over: float, chance: Callable[[], float]) -> Ended:
    poller, now, lists = InboxPoller(POLICY, chance=chance), 0.0, 0
    while True:
        done = settled(now)
        result = poller.looked(InboxProgress(EXPECTED, {"PROCESSED": done}), now=now)
        if not result.is_final and poller.is_poll_due(now):
            lists += 1
            progress = BatchProgress(EXPECTED, {"PROCESSED": done, "PROCESSING": EXPECTED - done})
            result = poller.polled(progress, now=now)
        if result.is_final:
            return Ended(now - over, lists)
        now += max(result.delay, 0.01)


def measured(way: Callable[..., Ended], profile: str, minutes: float) -> Ended:
    """Return the median of twenty batches."""
    ends = []
    for seed in range(20):
        chance = random.Random(seed)
        over = minutes * 60 * chance.uniform(0.9, 1.1)

        def settled(now: float, over: float = over) -> int:
            return int(EXPECTED * min(PROFILES[profile](now / over), 1.0)) if now < over else EXPECTED

        ends.append(way(settled, over, chance.random))
    return Ended(
        statistics.median(end.late for end in ends), round(statistics.median(end.lists for end in ends))
    )


@pytest.mark.parametrize("minutes", [1, 10, 60])
@pytest.mark.parametrize("profile", PROFILES)
def test_webhooks_end_a_wait_sooner_and_with_hardly_a_list(profile: str, minutes: float) -> None:
    webhooks, polling = measured(by_webhooks, profile, minutes), measured(by_polling, profile, minutes)
    print(f"{profile}, {minutes} min: webhooks {webhooks}, polling {polling}")  # noqa: T201  # seen with -s
    assert webhooks.late <= 15
    assert webhooks.late < polling.late
    assert webhooks.lists <= polling.lists / 3
    if profile == "evenly" or minutes <= 10:
        assert webhooks.lists <= 1
