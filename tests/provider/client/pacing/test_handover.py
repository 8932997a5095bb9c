"""What was learnt of a limit, handed from one process to the next: by real files, and by real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from extend_provider.client.pacing import handover
from extend_provider.client.pacing.level import Learnt
from extend_provider.client.pacing.limits import ConnectionLimits
from fixtures.extend.pacing import seconds_to_turn

KEY = "extend_default https://api.example"
LEARNT = Learnt(level=40.0, failures=3, step_in=30.0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"extend-limits-{os.getuid()}"


class Clock:
    """The time of day, which a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(handover, "time", clock)
    return clock


def refused() -> ConnectionLimits:
    """Return limits of a process that was refused once, and has gone on for a minute."""
    moment = [0.0]
    process = ConnectionLimits("extend_default", key=KEY, clock=lambda: moment[0])
    process.refused("read", 1.0)
    moment[0] += 60.0
    return process


async def hand_over(process: ConnectionLimits) -> None:
    async with handover.handed_over(process, "read"):
        pass


def test_a_level_is_taken_once_and_the_time_that_has_passed_counts(clock: Clock) -> None:
    handover.leave(KEY, "read", LEARNT)
    clock.now += 10.0
    assert handover.take(KEY, "read") == Learnt(level=40.0, failures=3, step_in=20.0)
    assert handover.take(KEY, "read") is None


def test_the_highest_level_of_the_category_and_connection_is_taken() -> None:
    for level, category in ((12.0, "read"), (30.0, "read"), (75.0, "write")):
        handover.leave(KEY, category, Learnt(level, 3, 30.0))
    handover.leave("extend_default https://elsewhere.example", "read", Learnt(99.0, 3, 30.0))
    assert [taken.level for _ in range(2) if (taken := handover.take(KEY, "read"))] == [30.0, 12.0]


def test_what_is_old_is_worth_nothing_and_is_removed(folder: Path, clock: Clock) -> None:
    handover.leave(KEY, "read", LEARNT)
    clock.now += handover.WORTH_SECONDS
    assert handover.take(KEY, "read") is None
    assert [file.read_bytes() for file in folder.iterdir()] == [b"[]"]


def test_the_next_process_goes_on_where_the_one_before_was() -> None:
    before = refused()
    pace = before.rate("read")
    asyncio.run(hand_over(before))
    after = ConnectionLimits("extend_default", key=KEY, clock=lambda: 0.0)
    begun_with = after.rate("read")

    async def work() -> None:
        async with handover.handed_over(after, "read"):
            assert after.is_learnt("read")
            assert after.rate("read") == pace != begun_with
            assert handover.take(KEY, "read") is None, "nobody else has it meanwhile"

    asyncio.run(work())
    assert handover.take(KEY, "read") is not None


def test_a_process_has_one_level_however_many_blocks_it_has_at_once_or_in_turn() -> None:
    process = refused()
    level = process.learnt("read")

    async def work() -> None:
        await asyncio.gather(*(hand_over(process) for _ in range(3)))
        assert not process.is_learnt("read")
        async with handover.handed_over(process, "read"):
            assert process.is_learnt("read")
            await hand_over(process)
            assert process.is_learnt("read"), "the other block is still at work"

    asyncio.run(work())
    left = handover.take(KEY, "read")
    assert left is not None
    assert level is not None
    assert left.level == level.level
    assert handover.take(KEY, "read") is None


def test_a_process_keeps_its_level_where_it_cannot_leave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    process = refused()
    rate = process.rate("read")
    asyncio.run(hand_over(process))
    assert process.rate("read") == rate


def test_a_process_at_work_takes_what_no_other_one_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "LOOK_SECONDS", 0.01)
    process = refused()
    own = process.rate("read")

    async def work() -> None:
        async with handover.handed_over(process, "read"):
            handover.leave(KEY, "read", LEARNT)
            await asyncio.sleep(0.1)
            assert process.rate("read") == own, "the one that comes next may want it"
            monkeypatch.setattr(handover, "SUCCESSOR_SECONDS", 0.0)
            async with asyncio.timeout(5):
                while process.rate("read") == own:
                    await asyncio.sleep(0.01)

    asyncio.run(work())
    left = handover.take(KEY, "read")
    assert left is not None
    assert left.level == pytest.approx(own * 1.02 + LEARNT.level, rel=0.01)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_refusal_of_just_now_is_not_handed_over(seconds: float) -> None:
    """It may say no more than that others send a lot."""
    moment = [0.0]
    process = ConnectionLimits("extend_default", key=KEY, clock=lambda: moment[0])
    process.refused("read", 1.0)
    moment[0] += seconds
    asyncio.run(hand_over(process))
    assert handover.take(KEY, "read") is None


def test_a_task_that_fails_leaves_its_level() -> None:
    process = refused()

    async def fail() -> None:
        async with handover.handed_over(process, "read"):
            raise ConnectionError("Extend is away")

    with pytest.raises(ConnectionError):
        asyncio.run(fail())
    assert handover.take(KEY, "read") is not None


#: Leaves fifty levels, and takes half as many; again where the others had the file for too long.
MANY = """
from extend_provider.client.pacing import handover
from extend_provider.client.pacing.level import Learnt
for _ in range(50):
    while not handover.leave("key", "read", Learnt(1.0, 0, 0.0)):
        pass
for _ in range(25):
    while handover.take("key", "read") is None:
        pass
"""


def test_processes_at_the_same_time_lose_and_repeat_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen([sys.executable, "-c", MANY], env=environment) for _ in range(4)]
    try:
        assert [process.wait(60) for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
    left = 0
    while handover.take("key", "read") is not None:
        left += 1
    assert left == 100


@pytest.mark.parametrize("content", [b'[{"level": 3}]', b"\xff\x00", b'[{"category": "re'])
def test_a_file_of_another_version_counts_as_empty(folder: Path, content: bytes) -> None:
    handover.leave(KEY, "read", LEARNT)
    (file,) = folder.iterdir()
    file.write_bytes(content)
    assert handover.take(KEY, "read") is None
    handover.leave(KEY, "read", LEARNT)
    assert handover.take(KEY, "read") is not None


def test_a_folder_that_is_not_ones_own_is_not_used(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    asyncio.run(hand_over(refused()))
    assert handover.take(KEY, "read") is None
    assert not list(elsewhere.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_another_user_has_made_is_not_used(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    asyncio.run(hand_over(refused()))
    assert not list(folder.iterdir())


def test_a_process_that_follows_at_once_sends_no_burst() -> None:
    """The second in which the one before has sent what may be sent is not over."""
    after = ConnectionLimits("extend_default", clock=lambda: 100.0)
    after.take_over("read", LEARNT)
    waits = [seconds_to_turn(after, "read") for _ in range(3)]
    assert waits[0] == 0.0
    assert waits[1] >= 1.02 / 40
    assert waits[2] - waits[1] == pytest.approx(1.02 / 40)


def test_a_disk_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    asyncio.run(hand_over(refused()))
    assert handover.take(KEY, "read") is None


def test_the_folder_is_for_this_user_alone(folder: Path) -> None:
    handover.leave(KEY, "read", LEARNT)
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert "example" not in file.name
