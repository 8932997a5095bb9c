"""One event loop waits for many batches: the requests that it sends, counted by Extend's emulator."""

from __future__ import annotations

import pytest

from bench.single.triggerer import measure


@pytest.mark.full
def test_a_loop_polls_every_batch_soon_and_not_too_often() -> None:
    row = measure(20, 12, runs=1)
    # Each batch after five seconds at the latest, and a second time after ten.
    assert 20 <= row["lists"] <= 60
    assert row["refused"] == 0
