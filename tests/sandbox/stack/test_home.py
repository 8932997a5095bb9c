"""The stack's home: one owner at a time, and a killed owner is no owner."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandbox.stack.home import HOME_VARIABLE, Home, State
from sandbox.stack.processes.process import StackError

OWNER = """
import sys, time
from pathlib import Path
from sandbox.stack.home import Home
home = Home(Path(sys.argv[1]))
home.take()
print("taken", flush=True)
time.sleep(60)
"""


def test_home_has_one_owner_and_names_it(tmp_path: Path) -> None:
    with _owner_process(tmp_path) as owner:
        home = Home(tmp_path)
        assert home.is_taken()
        assert home.owner() == owner.pid
        with pytest.raises(StackError, match="a stack is starting or stopping in"):
            home.take()
        home.write_state(_state())
        with pytest.raises(StackError, match=rf"already running in .* \(pid {owner.pid}\).*http://ui.*down"):
            home.take()


def test_home_of_a_killed_owner_is_taken_and_emptied(tmp_path: Path) -> None:
    with _owner_process(tmp_path) as owner:
        Home(tmp_path).write_state(_state())
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "old.log").write_text("old")
        (tmp_path / "warehouse.duckdb").write_text("old")
        assert owner.poll() is None
    home = Home(tmp_path)
    assert home.owner() is None
    assert home.read_state() is None
    home.take()
    assert [path.name for path in tmp_path.iterdir()] == ["stack.lock"]
    home.release()


def test_landed_files_stay_until_the_next_stack_starts(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.take()
    home.write_state(_state())
    assert home.read_state() == _state()
    home.warehouse.write_text("rows")
    home.release()
    assert not home.is_taken()
    assert home.warehouse.read_text() == "rows"
    assert home.read_state() is None


def test_password_is_readable_only_by_the_owner(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.take()
    home.write_state(_state())
    assert (tmp_path / "stack.json").stat().st_mode & 0o077 == 0
    home.release()


def test_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StackError, match="has files that are not of a stack"):
        Home(tmp_path).take()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_processes_of_a_killed_stack_are_found_and_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    stray = subprocess.Popen(command, env={HOME_VARIABLE: str(tmp_path)}, start_new_session=True)
    stranger = subprocess.Popen(command, env={HOME_VARIABLE: str(tmp_path / "another")})
    try:
        home = Home(tmp_path)
        assert [process.pid for process in home.strays()] == [stray.pid]
        assert home.kill_strays(patience=0.5) == 1
        assert not psutil.pid_exists(stray.pid)
        assert stranger.poll() is None
    finally:
        stray.kill()
        stranger.kill()
        stray.wait()
        stranger.wait()


@contextlib.contextmanager
def _owner_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns the home until it is killed, which the end of the ``with`` does at the latest."""
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "taken\n"
            yield owner
        finally:
            owner.kill()


def _state() -> State:
    return State(
        started_at="2026-11-22T05:00:00+00:00",
        airflow_url="http://ui",
        username="admin",
        password="secret",
        extend_url="http://extend",
        s3_url="http://s3",
        warehouse="warehouse.duckdb",
    )
