"""Temporary folders: what a killed process leaves is removed by the next one, and nothing that is in use."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

import pytest

from extend_pipeline.temporary import temporary_folder

_FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _hold(told: Connection) -> None:
    with temporary_folder() as folder:
        (folder / "values.csv").write_text("a value of a document")
        told.send(folder)
        signal.pause()


@pytest.fixture
def holder() -> Iterator[tuple[Path, Callable[[], None]]]:
    """Return the folder of another process, and what kills that process."""
    ours, theirs = _FORK.Pipe()
    process = _FORK.Process(target=_hold, args=(theirs,))
    process.start()

    def kill() -> None:
        process.kill()
        process.join()

    yield ours.recv(), kill
    kill()


def test_a_folder_is_private_and_removed_in_the_end(place: Path) -> None:
    with temporary_folder() as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").touch()
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(place.iterdir()) == []


def test_a_folder_is_removed_after_an_error(place: Path) -> None:
    def fail() -> None:
        with temporary_folder() as folder:
            (folder / "file").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_leaves_is_removed_by_the_next_one(
    holder: tuple[Path, Callable[[], None]],
) -> None:
    folder, kill = holder
    kill()
    assert (folder / "values.csv").exists()
    with temporary_folder() as own:
        assert not folder.exists()
        assert own.exists()


def test_what_another_process_uses_stays(holder: tuple[Path, Callable[[], None]]) -> None:
    folder, _ = holder
    with temporary_folder():
        assert (folder / "values.csv").exists()
    assert (folder / "values.csv").exists()


def test_others_see_a_folder_only_once_it_is_locked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, visible = fcntl.flock, list[list[Path]]()

    def flock(file: BinaryIO, operation: int) -> None:
        visible.append(list(place.glob("*/lock")))
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_folder() as folder:
        assert (folder / "lock").exists()
    assert visible[0] == []


def test_folders_of_one_process_leave_each_other_alone() -> None:
    with temporary_folder() as outer, temporary_folder() as inner:
        assert outer != inner
        assert outer.exists()


def test_what_is_not_ours_stays(place: Path) -> None:
    with temporary_folder() as folder:
        name = folder.name
    for each in (place / "other", place / f"{name}1"):  # the second is being made
        each.mkdir()
        (each / "file").touch()
    target = place / "target"
    target.mkdir()
    for file in ("lock", "precious"):
        (target / file).touch()
    (place / f"{name}2").symlink_to(target)
    with temporary_folder():
        pass
    assert sorted(path.name for path in place.glob("*/*")) == [
        "file",
        "file",
        "lock",
        "lock",
        *["precious"] * 2,
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # tmp_path is closed to other users
        monkeypatch.setattr(tempfile, "tempdir", name)
        place = Path(name)
        place.chmod(0o777)
        foreign = place / "extend-pipeline-foreign"
        foreign.mkdir(mode=0o700)
        (foreign / "lock").touch(mode=0o600)
        child = os.fork()
        if not child:
            os.setuid(65534)
            with temporary_folder() as folder:
                done = folder.exists()
            os._exit(0 if done else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (foreign / "lock").exists()


def test_a_disk_without_locks_is_enough(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = place / "extend-pipeline-left"
    left.mkdir()
    (left / "lock").touch()

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with temporary_folder() as folder:
        assert folder.exists()
    assert list(place.iterdir()) == [left]  # nobody knows whether it is in use
