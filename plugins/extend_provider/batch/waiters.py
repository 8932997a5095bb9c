"""Who waits for the same work, so that the end of one task does not cancel it for the others.

Each follower leaves a marker in a folder that all of them share: its place in Airflow. Whether it still
follows is asked of Airflow when it matters; so the marker of a task that has ended, or of a run that was
deleted, holds nothing back, whatever crash has left it behind.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from airflow.sdk import ObjectStoragePath

from extend_provider.batch.ownership import given_up


@dataclasses.dataclass(frozen=True, slots=True)
class Follower:
    """A task instance that waits for the work; those beside it, in one group, are the same follower."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @classmethod
    def of(cls, ti: Any, beside: str | None = None) -> Follower:
        """Return the place of a task instance, or of another task in its group.

        :param beside: the other task's id in the group.
        """
        group, dot, _ = ti.task_id.rpartition(".")
        task_id = ti.task_id if beside is None else f"{group}{dot}{beside}"
        return cls(ti.dag_id, ti.run_id, task_id, -1 if ti.map_index is None else ti.map_index)

    def is_beside(self, other: Follower) -> bool:
        """Whether both are tasks of one group, so that one of them ends the work for the other."""
        return self._group == other._group

    @property
    def _group(self) -> tuple[str, str, str, int]:
        return self.dag_id, self.run_id, self.task_id.rpartition(".")[0], self.map_index

    def __str__(self) -> str:
        index = "" if self.map_index < 0 else f" [{self.map_index}]"
        return f"{self.dag_id}.{self.task_id}{index} of run {self.run_id}"


def follow(folder: str, follower: Follower) -> None:
    """Leave a marker; it is there before the work is sent or taken up."""
    path = _path(folder, follower)
    if path.protocol in ("", "file"):
        path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(follower)))


def unfollow(folder: str, follower: Follower) -> None:
    """Take the marker away."""
    _path(folder, follower).unlink(missing_ok=True)


def others(folder: str, follower: Follower) -> list[Follower]:
    """Return who else still follows; blocks."""
    return [each for each in _marked(folder) if not each.is_beside(follower) and not given_up(each)]


def _marked(folder: str) -> Iterator[Follower]:
    place = ObjectStoragePath(folder)
    place.fs.invalidate_cache(place.path)  # a triggerer lives long, and others leave their markers meanwhile
    try:
        paths = list(place.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return  # nobody has ever followed
    for path in paths:
        try:
            yield Follower(**json.loads(path.read_text()))
        except FileNotFoundError:
            continue  # it has just gone


def _path(folder: str, follower: Follower) -> ObjectStoragePath:
    name = hashlib.sha256(str(follower).encode()).hexdigest()[:32]
    return ObjectStoragePath(folder) / f"{name}.json"
