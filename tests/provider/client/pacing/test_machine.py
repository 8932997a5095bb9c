"""What the processes of a machine share of a limit: by real files, and by real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from extend_provider.client.pacing import machine
from extend_provider.client.pacing.level import Learnt
from extend_provider.client.pacing.limits import ConnectionLimits
from extend_provider.client.pacing.shares import NOBODY, Share
from fixtures.extend.pacing import seconds_to_turn, shares_of

KEY = "extend_default https://api.example"
LEARNT = Learnt(level=40.0, failures=3, step_in=30.0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"extend-limits-{os.getuid()}"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LOOK_SECONDS", 0.01)


def new() -> ConnectionLimits:
    """Return limits of a process that has sent nothing."""
    return ConnectionLimits("extend_default", key=KEY, clock=lambda: 0.0)


def taught(level: float = 40.0) -> ConnectionLimits:
    """Return limits of a process that knows its level."""
    process = new()
    process.share("read", Learnt(level, LEARNT.failures, LEARNT.step_in))
    return process


def refused(*, seconds_ago: float) -> ConnectionLimits:
    """Return limits of a process that was refused once."""
    moment = [0.0]
    process = ConnectionLimits("extend_default", key=KEY, clock=lambda: moment[0])
    process.refused("read", 1.0)
    moment[0] += seconds_ago
    return process


async def work(process: ConnectionLimits, seconds: float = 0.0) -> None:
    async with machine.shared(process, "read"):
        await asyncio.sleep(seconds)


def left() -> float:
    """Return the level that nobody has."""
    shares = shares_of(KEY, "read")
    assert [each.process for each in shares] == [NOBODY]
    return shares[0].level


def test_the_next_process_goes_on_where_the_one_before_was() -> None:
    asyncio.run(work(taught()))
    after = new()
    begun_with = after.rate("read")

    async def go_on() -> None:
        async with machine.shared(after, "read"):
            assert after.rate("read") == pytest.approx(40 / 1.02) != begun_with
            learnt = after.learnt("read")
            assert learnt is not None
            assert learnt.failures == LEARNT.failures
            assert 20 < learnt.step_in <= LEARNT.step_in
            assert {each.process: each.level for each in shares_of(KEY, "read")} == {
                after.process: 40,
                NOBODY: 0,
            }

    asyncio.run(go_on())
    assert left() == 40.0
    assert after.learnt("read") is None, "it is the next one's now"


@pytest.mark.usefixtures("quick")
def test_processes_that_ask_at_the_same_time_have_equal_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConnectionLimits, "is_short", lambda *_: True)
    first, others = taught(), [new() for _ in range(3)]

    async def all_at_once() -> None:
        async with machine.shared(first, "read"):
            working = [asyncio.create_task(work(other, 1)) for other in others]
            async with asyncio.timeout(5):
                while {round(each.rate("read") * 1.02) for each in (first, *others)} != {10}:
                    await asyncio.sleep(0.01)
            for task in working:
                task.cancel()
            async with asyncio.timeout(5):
                while first.rate("read") < 40 / 1.021:
                    await asyncio.sleep(0.01)

    asyncio.run(all_at_once())
    assert left() == 40.0


def test_a_process_knows_how_many_share_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    partners: list[int] = []
    monkeypatch.setattr(
        ConnectionLimits, "share", lambda *_, partners=0, into=partners: into.append(partners)
    )
    first, idle = taught(), new()

    async def share() -> None:
        async with machine.shared(first, "read"), machine.shared(idle, "read"):
            machine._look(idle, "read", wants=False)
            for _ in range(2):
                await work(new())
            async with machine.shared(new(), "read"), machine.shared(new(), "read"):
                machine._look(first, "read", wants=True)

    first.learnt = lambda *_, **__: LEARNT  # type: ignore[method-assign]
    asyncio.run(share())
    assert (partners[0], partners[-1]) == (0, 2)


@pytest.mark.usefixtures("quick")
def test_a_process_that_has_no_request_waiting_takes_nothing() -> None:
    process = taught()

    async def idle() -> None:
        async with machine.shared(process, "read"):
            await work(taught(20.0))
            await asyncio.sleep(0.1)
            assert process.rate("read") == pytest.approx(40 / 1.02)
            seconds_to_turn(process, "read")
            assert seconds_to_turn(process, "read") > 0
            async with asyncio.timeout(5):
                while process.rate("read") < 60 / 1.021:
                    await asyncio.sleep(0.01)

    asyncio.run(idle())
    assert left() == 60.0


@pytest.mark.usefixtures("quick")
def test_a_process_at_work_that_was_not_refused_yet_is_not_held_to_what_others_have_learnt() -> None:
    """Of four that begin together, one is refused first: its share is a part of the limit, not all of it."""
    begun = new()

    async def work_on() -> None:
        async with machine.shared(begun, "read"):
            for _ in range(3):
                seconds_to_turn(begun, "read")
            careful = begun.rate("read")
            async with machine.shared(taught(3.0), "read"):
                await asyncio.sleep(0.1)
                assert begun.rate("read") == careful
            await asyncio.sleep(0.1)
            assert begun.rate("read") == careful

    asyncio.run(work_on())
    assert left() == 3.0


def test_a_process_has_one_share_however_many_blocks_it_has_at_once_or_in_turn() -> None:
    process = taught()

    async def blocks() -> None:
        await asyncio.gather(*(work(process) for _ in range(3)))
        assert left() == 40.0
        async with machine.shared(process, "read"):
            await work(process)
            assert process.rate("read") == pytest.approx(40 / 1.02), "the other block is still at work"

    asyncio.run(blocks())
    assert left() == 40.0


def test_categories_and_connections_are_apart() -> None:
    asyncio.run(work(taught()))
    elsewhere = ConnectionLimits("extend_default", key="extend_default https://elsewhere.example")
    writes = new()

    async def other_ones() -> None:
        async with machine.shared(elsewhere, "read"), machine.shared(writes, "write"):
            assert elsewhere.learnt("read") is None
            assert writes.learnt("write") is None

    asyncio.run(other_ones())
    assert left() == 40.0


@pytest.mark.parametrize(("seconds_ago", "shares"), [(0.0, 0), (1.0, 0), (60.0, 1)])
def test_a_refusal_of_just_now_is_left_to_nobody(seconds_ago: float, shares: int) -> None:
    """It may say no more than that others send a lot."""
    process = refused(seconds_ago=seconds_ago)
    rate = process.rate("read")
    asyncio.run(work(process))
    assert sum(each.level > 0 for each in shares_of(KEY, "read")) == shares
    assert (process.rate("read") == rate) is not bool(shares), "what is left to nobody is kept"


def test_what_others_have_given_is_left_also_right_after_a_refusal() -> None:
    asyncio.run(work(taught()))
    asyncio.run(work(refused(seconds_ago=1.0)))
    assert left() >= 40.0


def test_a_task_that_fails_leaves_its_share() -> None:
    process = taught()

    async def fail() -> None:
        async with machine.shared(process, "read"):
            raise ConnectionError("Extend is away")

    with pytest.raises(ConnectionError):
        asyncio.run(fail())
    assert left() == 40.0


#: Works until it is killed, at a level of its own.
WORKER = """
import asyncio
from extend_provider.client.pacing import machine
from extend_provider.client.pacing.level import Learnt
from extend_provider.client.pacing.limits import ConnectionLimits

async def work():
    process = ConnectionLimits("extend_default", key=%r)
    process.share("read", Learnt(10.0, 3, 30.0))
    process.is_short = lambda category: True
    async with machine.shared(process, "read"):
        print(process.process, flush=True)
        await asyncio.sleep(60)

asyncio.run(work())
"""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WORKER % KEY]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_share_of_processes_that_are_killed_is_everybodys(
    workers: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("extend_provider.client.pacing.shares.GONE_SECONDS", 2.0)
    names = [process.stdout.readline().strip() for process in workers if process.stdout]
    for process in workers[:3]:
        process.kill()
    me = new()
    expected = {me.process: 20.0, names[3]: 20.0, NOBODY: 0.0}
    monkeypatch.setattr(me, "is_short", lambda _: True)

    async def go_on() -> None:
        async with machine.shared(me, "read"), asyncio.timeout(20):
            while {each.process: each.level for each in shares_of(KEY, "read")} != expected:
                await asyncio.sleep(0.05)

    asyncio.run(go_on())


@pytest.mark.parametrize("ends", [False, True], ids=["goes on", "ends"])
@pytest.mark.parametrize("seconds", [30.0, 3600.0])
def test_processes_that_were_suspended_have_what_they_had(
    monkeypatch: pytest.MonkeyPatch, seconds: float, *, ends: bool
) -> None:
    """As all processes of a machine that was suspended: each finds that the others are gone."""
    moment = [0.0]
    monkeypatch.setattr(
        "extend_provider.client.pacing.machine.time", types.SimpleNamespace(time=lambda: moment[0])
    )
    monkeypatch.setattr(ConnectionLimits, "is_short", lambda *_: True)
    first, second = taught(20.0), taught(20.0)

    async def suspended() -> None:
        async with machine.shared(first, "read"), machine.shared(second, "read"):
            moment[0] += seconds
            machine._look(first, "read", wants=True)
            if not ends:
                for process in (second, first, second):
                    machine._look(process, "read", wants=True)
                assert first.rate("read") == second.rate("read") == pytest.approx(20 / 1.02)

    asyncio.run(suspended())
    assert left() == 40.0


#: Leaves a share fifty times; again where others had the file for too long.
MANY = """
from extend_provider.client.pacing.machine import with_shares
from extend_provider.client.pacing.shares import Share, leave
import os, time
for _ in range(50):
    mine = Share(str(os.getpid()), time.time(), level=1.0)
    while with_shares("key", "read", lambda shares: leave(shares, mine)) is None:
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
    assert [each.level for each in shares_of("key", "read")] == [200.0]


@pytest.mark.parametrize("content", [b'[{"level": 3}]', b"\xff\x00", b'[{"process": "re', b"{}"])
def test_a_file_of_another_version_counts_as_empty(folder: Path, content: bytes) -> None:
    asyncio.run(work(taught()))
    (file,) = folder.iterdir()
    file.write_bytes(content)
    assert shares_of(KEY, "read") == []
    asyncio.run(work(taught()))
    assert left() == 40.0


def test_a_file_that_was_removed_is_written_again(folder: Path) -> None:
    process = taught()

    async def removed() -> None:
        async with machine.shared(process, "read"):
            for file in folder.iterdir():
                file.unlink()
            machine._look(process, "read", wants=True)
            assert process.rate("read") == pytest.approx(40 / 1.02)

    asyncio.run(removed())
    assert left() == 40.0


def test_a_folder_that_is_not_ones_own_is_not_used(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    process = taught()
    asyncio.run(work(process))
    assert machine.with_shares(KEY, "read", list) is None
    assert process.rate("read") == pytest.approx(40 / 1.02), "it keeps what it cannot leave"
    assert not list(elsewhere.iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_another_user_has_made_is_not_used(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    asyncio.run(work(taught()))
    assert not list(folder.iterdir())


def test_a_disk_that_cannot_be_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    process = taught()
    asyncio.run(work(process))
    assert process.rate("read") == pytest.approx(40 / 1.02)


def test_a_file_that_another_process_keeps_to_itself_stops_nobody() -> None:
    def holding(shares: list[Share]) -> list[Share]:
        process = taught()
        asyncio.run(work(process))
        assert process.rate("read") == pytest.approx(40 / 1.02)
        return shares

    assert machine.with_shares(KEY, "read", holding) == []


def test_a_share_is_logged_when_it_is_new(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "extend_provider")
    process = new()
    for level in (40.0, 40.0, 36.0, 20.0):
        process.share("read", Learnt(level, 3, 30.0))
    assert [message.rpartition(" now ")[2] for message in caplog.messages] == [
        "sends up to 39.2 per second.",
        "sends up to 19.6 per second.",
    ]


def test_a_process_that_follows_at_once_sends_no_burst() -> None:
    """The second in which the one before has sent what may be sent is not over."""
    after = ConnectionLimits("extend_default", clock=lambda: 100.0)
    after.share("read", LEARNT)
    waits = [seconds_to_turn(after, "read") for _ in range(3)]
    assert waits[0] == 0.0
    assert waits[1] >= 1.02 / 40
    assert waits[2] - waits[1] == pytest.approx(1.02 / 40)


def test_the_folder_is_for_this_user_alone(folder: Path) -> None:
    asyncio.run(work(taught()))
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert "example" not in file.name
