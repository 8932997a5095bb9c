"""Waiting for what an Airflow that is at work will come to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def eventually(what: Callable[[], Any], expected: Any, *, timeout: float = 30) -> None:
    """Wait for something to become what it should be."""
    deadline = time.monotonic() + timeout
    while (found := what()) != expected:
        assert time.monotonic() < deadline, f"{found} is not {expected} after {timeout:.0f} s"
        time.sleep(0.3)
