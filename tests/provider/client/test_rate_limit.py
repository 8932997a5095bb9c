"""One budget of requests per second for threads and event loops of a process, without blocking a loop."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from extend_provider.client.rate_limit import RateLimiter, limiter_for
from fixtures.tasks.heartbeat import heartbeat


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_requests_at_once_get_slots_one_interval_apart() -> None:
    limiter = RateLimiter(4, clock=Clock())
    assert [limiter.reserve() for _ in range(4)] == [0, 0.25, 0.5, 0.75]


def test_an_idle_time_saves_nothing_up() -> None:
    clock = Clock()
    limiter = RateLimiter(4, clock=clock)
    limiter.reserve()
    clock.now += 60
    assert [limiter.reserve() for _ in range(3)] == [0, 0.25, 0.5]


def test_a_caller_slower_than_the_limit_never_waits() -> None:
    clock = Clock()
    limiter = RateLimiter(4, clock=clock)
    for _ in range(10):
        assert limiter.reserve() == 0
        clock.now += 0.25


def test_no_two_threads_get_the_same_slot() -> None:
    limiter = RateLimiter(1000, clock=Clock())
    barrier = threading.Barrier(8)

    def take(_: int) -> list[float]:
        barrier.wait()
        return [limiter.reserve() for _ in range(500)]

    with ThreadPoolExecutor(8) as pool:
        slots = sorted(slot for taken in pool.map(take, range(8)) for slot in taken)
    assert slots == pytest.approx([n / 1000 for n in range(4000)])


def test_a_connection_has_one_limiter_and_the_newest_rate() -> None:
    first = limiter_for("conn_a", 5)
    assert limiter_for("conn_a", 50) is first
    assert first.requests_per_second == 50
    assert limiter_for("conn_b", 5) is not first


async def test_threads_and_a_loop_share_the_budget_and_the_loop_stays_free() -> None:
    limiter = RateLimiter(40)
    moments: list[float] = []

    async def coroutine() -> None:
        await asyncio.sleep(limiter.reserve())
        moments.append(time.monotonic())

    def thread() -> None:
        time.sleep(limiter.reserve())
        moments.append(time.monotonic())

    async with heartbeat() as pulse:
        start = time.monotonic()
        await asyncio.gather(
            *(coroutine() for _ in range(10)), *(asyncio.to_thread(thread) for _ in range(10))
        )
    assert max(moments) - start >= 19 / 40 - 0.01
    assert pulse.held_up < 0.2
