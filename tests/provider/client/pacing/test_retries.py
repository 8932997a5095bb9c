"""How long a call waits before it is sent again."""

from __future__ import annotations

from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from extend_provider.client.calls import ApiCall
from extend_provider.client.pacing.retries import Backoff, retrying
from extend_provider.exceptions import ExtendRateLimitError


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


class _Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, event: str, *args: Any) -> None:
        self.lines.append(event % args)


@pytest.mark.parametrize(("retry_after", "lines"), [(0.0, 0), (20.0, 2)])
def test_only_a_long_wait_for_the_rate_limit_has_a_line_of_its_own(retry_after: float, lines: int) -> None:
    log, call = _Log(), ApiCall("GET", "/workflow_runs", intent="list runs", read=str)
    error = ExtendRateLimitError("refused", status=429, retryable=True, retry_after=retry_after)
    options = retrying(call, max_attempts=3, backoff=Backoff(initial=0.1), log=log)

    def refused() -> None:
        raise error

    with pytest.raises(ExtendRateLimitError):
        tenacity.Retrying(**options, sleep=lambda _: None)(refused)
    assert len(log.lines) == lines
