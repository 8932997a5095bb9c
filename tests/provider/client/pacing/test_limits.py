"""The limits of a connection: shared by threads and event loops, without blocking a loop."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from extend_provider.client.calls import ApiCall
from extend_provider.client.pacing.limits import BURST, Category, ConnectionLimits, category_of, limits_of
from extend_provider.client.settings import ExtendSettings, Secret
from extend_provider.exceptions import ExtendRateLimitError
from fixtures.extend.pacing import seconds_to_turn
from fixtures.tasks.heartbeat import heartbeat

SETTINGS = ExtendSettings(conn_id="conn_a", base_url="https://a.example", api_key=Secret("sk"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("method", "path", "category"),
    [
        ("GET", "/workflow_runs", "read"),
        ("POST", "/workflow_runs", "run"),
        ("POST", "/workflow_runs/batch", "run"),
        ("POST", "/workflow_runs/run_1/cancel", "write"),
        ("POST", "/files/upload", "write"),
        ("DELETE", "/files/file_1", "write"),
    ],
)
def test_reads_writes_and_runs_are_counted_apart(method: str, path: str, category: Category) -> None:
    call = ApiCall(method, path, intent="do", read=str)  # type: ignore[arg-type]  # one of the three
    assert category_of(call) == category
    limits = ConnectionLimits("conn_a", bound=1, clock=Clock())
    others = {"read", "write", "run"} - {category}
    assert [seconds_to_turn(limits, call) for _ in range(BURST + 2)] == [*[0] * BURST, BURST, BURST + 1]
    assert [seconds_to_turn(limits, other) for other in others] == [0, 0]  # type: ignore[arg-type]  # see above


def test_a_refusal_stops_the_category_and_no_other_for_as_long_as_extend_asks() -> None:
    clock = Clock()
    limits = ConnectionLimits("conn_a", clock=clock)
    waiting = [limits.turn("read") for _ in range(BURST + 1)][-1]
    assert waiting.wait() > 0
    limits.refused("read", 30)
    clock.now += 29
    assert waiting.wait() > 0
    assert seconds_to_turn(limits, "read") > 1
    assert seconds_to_turn(limits, "write") == 0
    clock.now += 2
    assert waiting.wait() == 0


def test_a_stop_that_is_too_long_is_an_error_that_says_so() -> None:
    limits = ConnectionLimits("conn_a", clock=Clock())
    limits.refused("run", 3600)
    turn = limits.turn("run")
    with pytest.raises(
        ExtendRateLimitError, match=r"conn_a to send no run requests for 3600 s more, so nothing"
    ) as stop:
        turn.wait(patience=300)
    assert (stop.value.retryable, stop.value.retry_after) == (True, 3600)


def test_a_connection_has_one_object_and_the_newest_bound() -> None:
    first = limits_of(SETTINGS)
    assert limits_of(dataclasses.replace(SETTINGS, requests_per_second=5)) is first
    assert first.rate("read") == 5
    assert limits_of(SETTINGS).rate("read") > 5
    assert limits_of(dataclasses.replace(SETTINGS, base_url="https://b.example")) is not first
    assert limits_of(dataclasses.replace(SETTINGS, conn_id="conn_b")) is not first


def test_what_a_person_says_of_the_plan_holds_until_extend_says_otherwise() -> None:
    clock = Clock()
    limits = ConnectionLimits("conn_a", bound=75, clock=clock)
    assert [limits.rate(each) for each in ("read", "write")] == pytest.approx([75, 75], rel=0.02)
    assert limits.rate("run") < 10, "which is limited per minute"
    limits.refused("read", 1)
    assert limits.rate("read") < 2
    assert limits.rate("write") == pytest.approx(75, rel=0.02)


def test_few_requests_prove_no_higher_rate_than_the_start() -> None:
    clock = Clock()
    limits = ConnectionLimits("conn_a", clock=clock)
    start = limits.rate("read")
    for _ in range(1000):
        turn = limits.turn("read")
        assert turn.wait() == 0
        turn.end(200, None)
        clock.now += 0.5
    assert limits.rate("read") == start


def test_no_two_threads_get_the_same_slot() -> None:
    limits = ConnectionLimits("conn_a", bound=5, clock=Clock())
    barrier = threading.Barrier(8)

    def take(_: int) -> list[float]:
        barrier.wait()
        return [seconds_to_turn(limits, "read") for _ in range(500)]

    with ThreadPoolExecutor(8) as pool:
        slots = sorted(slot for taken in pool.map(take, range(8)) for slot in taken)
    assert slots == pytest.approx([n / 5 if n >= BURST else 0 for n in range(4000)])


async def test_threads_and_a_loop_share_the_budget_and_the_loop_stays_free() -> None:
    limits = ConnectionLimits("conn_a", bound=40)
    seconds_to_turn(limits, "read")
    moments: list[float] = []

    async def coroutine() -> None:
        await asyncio.sleep(seconds_to_turn(limits, "read"))
        moments.append(time.monotonic())

    def thread() -> None:
        time.sleep(seconds_to_turn(limits, "read"))
        moments.append(time.monotonic())

    async with heartbeat() as pulse:
        start = time.monotonic()
        await asyncio.gather(
            *(coroutine() for _ in range(10)), *(asyncio.to_thread(thread) for _ in range(10))
        )
    assert max(moments) - start >= 19 / 40 - 0.05
    assert pulse.held_up < 0.2


@pytest.mark.parametrize("refusals", [1, 2, 20])
def test_a_task_that_submits_one_batch_is_not_held_up_by_what_its_refusals_seem_to_say(refusals: int) -> None:
    clock = Clock()
    limits = ConnectionLimits("conn_a", clock=clock)
    for _ in range(refusals):
        wait = seconds_to_turn(limits, "run")
        assert wait <= 5
        clock.now += wait
        limits.refused("run", 1.0)
        clock.now += 1.1
    assert seconds_to_turn(limits, "run") <= 5


def test_a_request_that_took_longer_than_usual_may_have_arrived_late() -> None:
    """And so may what was sent before the first answer, which had to wait for a connection."""
    clock = Clock()
    limits = ConnectionLimits("conn_a", bound=4, clock=clock)
    late: list[tuple[float, float]] = []
    limits._lane("read").turns.came_late = lambda at, by: late.append((at, by))  # type: ignore[assignment,method-assign]

    def ask(seconds: float, pause: float = 0.25) -> None:
        turn = limits.turn("read")
        while turn.wait():
            clock.now += 0.01
        sent = clock.now
        clock.now += seconds
        turn.end(200, None)
        clock.now = max(clock.now, sent + pause)

    ask(0.2)
    assert [(at, round(by, 3)) for at, by in late] == [(1000.0, 0.2)]
    for _ in range(30):
        ask(0.05)
    late.clear()
    ask(0.05)
    ask(0.05 + 0.1)
    ask(0.05)
    assert [by for _, by in late] == [pytest.approx(0.1, abs=0.02)]
