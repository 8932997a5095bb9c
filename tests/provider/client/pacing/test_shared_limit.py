"""Two processes that read through one rate limit of the emulator: all is read, and little is refused."""

from __future__ import annotations

from bench.single.rate import measure


def test_two_processes_share_a_limit_that_they_are_not_told() -> None:
    row = measure(collectors=2, limit=75, window="sliding", reads=300, warm_up=60)
    assert row["reads"] == 300
    assert row["read"] == 300, "each read has one answer"
    assert row["refused"] < 0.15, "at the start, when nothing is known"
