"""Files that are there whole and for good; one flush of a folder serves all that came before it began."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from extend_provider.webhooks.inbox import disk


def create(root: Path, name: str, data: bytes = b"data", folder: str = "a/b") -> None:
    disk.create(str(root / folder), name, data, scratch=str(root / "partial"))


def test_a_file_is_made_with_its_folders_and_never_overwritten(tmp_path: Path) -> None:
    create(tmp_path, "one")
    with pytest.raises(FileExistsError):
        create(tmp_path, "one", b"other")
    assert (tmp_path / "a/b/one").read_bytes() == b"data"
    assert list((tmp_path / "partial").iterdir()) == []


def test_what_is_new_is_flushed_before_it_counts_file_first_then_each_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = noted_flushes(monkeypatch)
    create(tmp_path, "one")
    assert flushed[0] == str(tmp_path)  # has the scratch folder's name
    assert flushed[1].startswith(str(tmp_path / "partial"))
    assert flushed[2:] == [str(tmp_path / "a/b"), str(tmp_path / "a"), str(tmp_path)]


def test_what_another_writer_has_only_just_made_is_flushed_by_whoever_relies_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, or the same event: its maker may not have flushed it yet when the machine crashes."""
    create(tmp_path, "one")
    flushed = noted_flushes(monkeypatch)
    create(tmp_path, "two")
    assert flushed[1:] == [str(tmp_path / "a/b"), str(tmp_path / "a")]
    flushed.clear()
    with pytest.raises(FileExistsError):
        create(tmp_path, "two")
    assert flushed[1:] == [str(tmp_path / "a/b"), str(tmp_path / "a")]


def noted_flushes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is flushed from now on, in its order."""
    flushed: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return flushed


def test_a_flush_that_fails_fails_its_writer_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fails = disk._fsync, [True]

    def failing(folder: str) -> None:
        if fails.pop() if fails else False:
            time.sleep(0.1)
            raise OSError(errno.EIO, "Input/output error")
        real(folder)

    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.setattr(disk, "_fsync", failing)
    with ThreadPoolExecutor(8) as threads:
        results = [threads.submit(create, tmp_path, str(number)) for number in range(8)]
        errors = [error for each in results if (error := each.exception(60))]
    assert [type(error) for error in errors] == [OSError]


def test_writers_share_a_flush_that_began_after_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = disk._fsync
    covered: list[set[str]] = []
    parents: list[str] = []
    first_is_at_it, go_on = threading.Event(), threading.Event()

    def slow(folder: str) -> None:
        if folder == str(tmp_path / "a/b"):
            covered.append({path.name for path in Path(folder).iterdir()})
            first_is_at_it.set()
            go_on.wait(30)
        else:
            parents.append(folder)
        real(folder)

    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "partial").mkdir()
    monkeypatch.setattr(disk, "_fsync", slow)
    names = [str(number) for number in range(20)]
    with ThreadPoolExecutor(21) as threads:
        first = threads.submit(create, tmp_path, "first")
        first_is_at_it.wait(30)
        rest = [threads.submit(create, tmp_path, name) for name in names]
        deadline = time.monotonic() + 30
        while len(list((tmp_path / "a/b").iterdir())) < 21 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(each.done() for each in rest)  # the flush that runs began before they came
        go_on.set()
        for each in (first, *rest):
            each.result(60)
    assert covered[0] == {"first"}
    assert covered[-1] == {"first", *names}
    assert len(covered) < 10
    assert set(parents) == {str(tmp_path / "a")}
    assert disk._flushes._folders == {}
