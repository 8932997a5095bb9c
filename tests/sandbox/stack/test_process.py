"""A component: nothing that a command starts outlives it, nor the process that started the command."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sandbox.stack.processes.process import Command, Component, ComponentDied, StackError, run_once, tail

#: A busy machine takes its time; a quiet one is done at once.
SECONDS = 60

OWNER = """
import sys, time
from pathlib import Path
from sandbox.stack.processes.process import Command, Component

command = Command(argv=[sys.executable, "-uc", sys.argv[1]], environment={})
Component("subject", command, Path(sys.argv[2])).start()
time.sleep(600)
"""


@pytest.fixture
def marker() -> Iterator[str]:
    """A word that the test's processes carry in their command lines; none of them may be left at the end."""
    word = f"component-test-{uuid.uuid4().hex}"
    yield word
    left = _marked(word)
    for process in left:
        process.kill()
    assert not left


def test_component_has_the_exit_code_of_its_command(tmp_path: Path) -> None:
    component = _component(tmp_path, "import sys; print('about to leave'); sys.exit(7)")
    component.start()
    assert _until(lambda: component.exit_code is not None)
    assert component.exit_code == 7
    with pytest.raises(ComponentDied, match=r"exit code 7.*\n.*about to leave"):
        component.check_alive()


def test_processes_of_a_dead_command_are_killed(tmp_path: Path, marker: str) -> None:
    component = _component(tmp_path, _spawning(marker, "sys.exit(0)"))
    component.start()
    assert _until(lambda: component.exit_code == 0)
    assert not _marked(marker)


def test_stop_lets_the_command_clean_up(tmp_path: Path) -> None:
    component = _component(
        tmp_path,
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('tidied'), sys.exit(0)))\n"
        "print('ready'); time.sleep(60)",
    )
    component.start()
    assert _until(lambda: "ready" in tail(component.log))
    component.stop()
    assert "tidied" in tail(component.log)
    assert not component.running


def test_command_that_does_not_stop_is_killed_with_its_orphans(tmp_path: Path, marker: str) -> None:
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(60)"
    component = _component(tmp_path, _spawning(marker, stubborn), grace=0.3)
    component.start()
    assert _until(lambda: "ready" in tail(component.log))
    assert len(_marked(marker)) == 2
    component.stop()
    assert not _marked(marker)


def test_kill_ends_the_command_and_its_children(tmp_path: Path, marker: str) -> None:
    component = _component(tmp_path, _spawning(marker, "print('ready'); time.sleep(600)"), grace=600)
    component.start()
    assert _until(lambda: "ready" in tail(component.log))
    component.kill()
    assert not _marked(marker)


def test_sigkill_of_the_owner_ends_the_command_and_its_daemons(tmp_path: Path, marker: str) -> None:
    log = tmp_path / "subject.log"
    code = _spawning(marker, "print('ready'); time.sleep(600)")
    owner = subprocess.Popen([sys.executable, "-c", OWNER, code, str(log)])
    try:
        assert _until(lambda: "ready" in tail(log))
        assert len(_marked(marker)) == 2
    finally:
        owner.kill()
        owner.wait()
    assert _until(lambda: not _marked(marker))


def test_each_owner_has_its_own_guard(tmp_path: Path, marker: str) -> None:
    """The end of one process is not the end of what another one has started."""
    component = _component(tmp_path, f"import time; print('ready'); time.sleep(600)  # {marker}")
    component.start()
    other = subprocess.run(
        [sys.executable, "-c", OWNER.replace("time.sleep(600)", ""), "pass", str(tmp_path / "other.log")],
        check=True,
    )
    assert other.returncode == 0
    time.sleep(1)
    component.check_alive()
    component.stop()


def test_restart_keeps_the_earlier_log(tmp_path: Path) -> None:
    component = _component(
        tmp_path, "import os, time; print('life', os.getpid(), flush=True); time.sleep(60)"
    )
    for lives in (1, 2):
        component.start()
        assert _until(lambda: tail(component.log).count("life") == lives)  # noqa: B023 - called at once
        with pytest.raises(StackError, match="already running"):
            component.start()
        component.stop()
        component.check_alive()  # stopped on purpose is not dead


def test_one_time_command_must_succeed_in_time(tmp_path: Path) -> None:
    good, bad, slow = (
        _component(tmp_path, code).command
        for code in ("pass", "raise SystemExit(3)", "import time; time.sleep(60)")
    )
    run_once("good", good, tmp_path / "good.log", timeout=SECONDS)
    with pytest.raises(ComponentDied, match="bad ended with exit code 3"):
        run_once("bad", bad, tmp_path / "bad.log", timeout=SECONDS)
    with pytest.raises(StackError, match="slow did not end within 0 s"):
        run_once("slow", slow, tmp_path / "slow.log", timeout=0.2)


def _component(folder: Path, code: str, grace: float = 5) -> Component:
    command = Command(argv=[sys.executable, "-uc", code], environment={"PATH": ""}, grace=grace)
    return Component("subject", command, folder / "logs" / "subject.log")


def _spawning(marker: str, then: str) -> str:
    """Code that starts a process in a session of its own, as a daemon would be, and goes on with ``then``."""
    child = f"import time; time.sleep(60)  # {marker}"
    return (
        f"import signal, subprocess, sys, time  # {marker}\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n{then}"
    )


def _marked(word: str) -> list[psutil.Process]:
    """The living processes ``python -c code`` with the word in their code: neither owners nor parents."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and len(command) == 3 and word in command[-1]:
                found.append(process)
    return found


def _until(condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
