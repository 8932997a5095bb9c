"""Files on this machine's disk are reached without Airflow's object storage, whose first use is slow."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from extend_provider.batch.disk import on_disk
from extend_provider.batch.ownership import Waiter, add_waiter, other_waiters, remove_waiter


@pytest.mark.parametrize("address", ["file://{0}/a b%25.json", "{0}/a b%25.json"])
def test_a_local_file_is_its_plain_path(tmp_path: Path, address: str) -> None:
    path = on_disk(ObjectStoragePath(address.format(tmp_path)))
    assert path == tmp_path / "a b%25.json"
    assert isinstance(path, Path)


def test_any_other_file_stays_as_it_is() -> None:
    path = ObjectStoragePath("s3://elsewhere@bucket/a.json")  # what is opened stays open for other tests
    assert on_disk(path) is path


@pytest.mark.usefixtures("closed_object_storage")
def test_waiters_on_disk(tmp_path: Path) -> None:
    folder, ours = f"file://{tmp_path}/chunk/followers", Waiter("d", "r", "g.wait", 0)
    assert other_waiters(folder, ours) == []
    add_waiter(folder, ours)
    assert other_waiters(folder, ours) == []
    assert len(list((tmp_path / "chunk" / "followers").iterdir())) == 1
    remove_waiter(folder, ours)
    remove_waiter(folder, ours)
    assert list((tmp_path / "chunk" / "followers").iterdir()) == []
