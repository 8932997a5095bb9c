"""How long a call waits before it is sent again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extend_provider.client.pacing.retries import Backoff


def test_the_delay_doubles_up_to_a_maximum() -> None:
    backoff = Backoff(initial=1, maximum=10)
    assert [backoff.delay(n, None, chance=0) for n in (1, 2, 3, 4, 5, 5000)] == [1, 2, 4, 8, 10, 10]


@given(attempt=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_takes_at_most_half(attempt: int, chance: float) -> None:
    backoff = Backoff()
    full = backoff.delay(attempt, None, chance=0)
    assert full / 2 <= backoff.delay(attempt, None, chance=chance) <= full <= backoff.maximum


@given(asked=st.floats(0, 1e6), chance=st.floats(0, 1, exclude_max=True))
def test_the_delay_is_never_below_retry_after(asked: float, chance: float) -> None:
    assert asked <= Backoff().delay(1, asked, chance=chance) <= max(asked * 1.1, 1.0)
