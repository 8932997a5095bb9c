"""When a wait polls next: within its bounds, sooner near the end, and as earlier batches suggest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.batch.waiting.experience import MOST_WORKFLOWS, Experience
from extend_provider.batch.waiting.pacer import Pacer, Seen, next_interval
from extend_provider.batch.waiting.timing import Clock, Timing
from extend_provider.client.models import RunSummary

SECONDS = st.floats(0.01, 1e6)


@given(
    previous=st.none() | SECONDS,
    settled=st.integers(0, 10),
    changed=st.booleans(),
    minimum=st.floats(0.01, 10),
    width=st.floats(0, 1000),
    remaining=st.floats(-100, 1e6),
    chance=st.floats(0, 1, exclude_max=True),
    left=st.none() | SECONDS,
)
def test_an_interval_stays_within_its_bounds_and_the_deadline(
    previous: float | None,
    settled: int,
    changed: bool,
    minimum: float,
    width: float,
    remaining: float,
    chance: float,
    left: float | None,
) -> None:
    interval = next_interval(
        previous,
        Seen(10, settled, changed=changed),
        minimum=minimum,
        maximum=minimum + width,
        remaining=remaining,
        chance=chance,
        left=left,
    )
    assert 0 <= interval <= max(remaining, 0)
    assert interval <= minimum + width
    assert interval >= min(minimum, max(remaining, 0))


def intervals(looks: list[Seen]) -> list[float]:
    found: list[float] = []
    for seen in looks:
        previous = found[-1] if found else None
        found.append(next_interval(previous, seen, minimum=5, maximum=60, remaining=1e9, chance=0.5))
    return found


def test_an_interval_grows_to_its_bound_while_nothing_changes() -> None:
    grown = intervals([Seen(10, 0)] * 10)
    assert grown == sorted(grown)
    assert (grown[0], grown[-1]) == (5, 60)


def test_an_interval_shrinks_towards_the_end() -> None:
    waiting = [Seen(100, 0)] * 10
    early = intervals([*waiting, Seen(100, 10, changed=True)])[-1]
    late = intervals([*waiting, Seen(100, 98, changed=True)])[-1]
    assert 5 <= late < early < 60


def test_jitter_spreads_equal_waits() -> None:
    low, high = (
        next_interval(20, Seen(10, 0), minimum=5, maximum=600, remaining=1e9, chance=chance)
        for chance in (0.0, 0.999)
    )
    assert low == pytest.approx(24)
    assert 30 < high < 36


def test_the_first_poll_waits_until_something_can_have_happened_where_polls_are_scarce() -> None:
    experience = Experience()
    experience.learn(Timing("workflow_1", 40.0, 230.0), 20)
    pacer = Pacer(5.0, 60.0, lambda: 0.0)
    assert pacer.first(now=0, soonest=5, is_crowded=True) == 5
    pacer.experience = experience
    assert pacer.first(now=0, soonest=5, is_crowded=False) == 5, "it may be quicker than those before"
    assert pacer.first(now=0, soonest=5, is_crowded=True) == 40
    pacer.polled(Seen(20, 0, timing=None), now=40)
    assert pacer.next(now=40, remaining=1e9) == 60


def test_experience_moves_to_the_quicker_at_once_and_is_bounded() -> None:
    experience = Experience()
    for first in (100.0, 20.0, 120.0):
        experience.learn(Timing("workflow_1", first, first), 1)
    pace = experience.pace("workflow_1")
    assert pace is not None
    assert pace.first == pytest.approx(40)
    for number in range(MOST_WORKFLOWS):
        experience.learn(Timing(f"other_{number}", 1.0, 1.0), 1)
    assert experience.pace("workflow_1") is None


def test_the_moments_of_a_batch_are_read_off_its_list() -> None:
    clock = Clock()
    for end in ("2026-01-01T00:01:00Z", "2026-01-01T00:03:00Z", None):
        clock.see(RunSummary("r", "X", workflow_id="w", created_at="2026-01-01T00:00:00Z", ended_at=end))
    assert clock.timing() == Timing("w", 60.0, 180.0)
