"""Whether what tasks share can be reached from the machines that they run on: decided without I/O.

A task sees the disk of its own machine only. So tasks share a folder or a DuckDB file only if the executor
runs all of them on one machine, or if their machines mount the same disk. No program can see the second, so
a deployment says it: :data:`Disk`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal

#: Which disk tasks see. ``by_executor``: their own machine's, so more machines share none. ``shared``: all
#: machines mount the same one, at the same path. ``one_machine``: all tasks, the triggerer and the API server
#: run on one machine, whatever the executor.
Disk = Literal["by_executor", "shared", "one_machine"]

#: Airflow's own short name of the one whose tasks all run beside the scheduler.
_LOCAL: Final = "LocalExecutor"


@dataclasses.dataclass(frozen=True, slots=True)
class Executor:
    """One of the executors that ``[core] executor`` names.

    :ivar path: its class, or one of Airflow's own names.
    :ivar alias: what tasks may call it instead.
    """

    path: str
    alias: str | None = None

    def is_called(self, name: str) -> bool:
        """Whether a task that asks for ``name`` gets this one."""
        return name in (self.path, self.alias, self.path.rpartition(".")[2])


def remote_executors(
    configured: str,
    asked_for: Iterable[str | None],
    *,
    multi_team: bool,
    is_local: Callable[[str], bool],
) -> list[str]:
    """Return the executors that may run some of the tasks on other machines than the rest, by their names.

    :param configured: ``[core] executor``: one, or several by commas, each a name or a class path, with an
        alias before a colon; sets for teams follow after semicolons.
    :param asked_for: the ``executor`` of each task; None is the default, the first of its set.
    :param multi_team: ``[core] multi_team``; without it the sets of teams mean nothing. The team of a task is
        not known to it, so with it each team's executors may be meant.
    :param is_local: tells of any other name or class path whether its tasks run beside the scheduler.
    """
    sets = [executors for executors in _sets(configured, multi_team=multi_team) if executors]
    meant = dict.fromkeys(each for name in asked_for for each in _meant(name, sets))
    return [each.alias or each.path for each in meant if each.path != _LOCAL and not is_local(each.path)]


def _sets(configured: str, *, multi_team: bool) -> Iterator[list[Executor]]:
    for part in configured.split(";"):
        team, _, names = part.rpartition("=")
        if team.strip() and not multi_team:
            continue
        yield [_executor(name.strip()) for name in names.split(",") if name.strip()]


def _executor(text: str) -> Executor:
    alias, _, path = text.rpartition(":")
    return Executor(path, alias or None)


def _meant(name: str | None, sets: list[list[Executor]]) -> Iterator[Executor]:
    if name is None:
        yield from (executors[0] for executors in sets)
        return
    found = [each for executors in sets for each in executors if each.is_called(name)]
    yield from found or [Executor(name)]


def unreachable(
    executors: Iterable[str],
    disk: Disk,
    *,
    folders: Mapping[str, str] | None = None,
    duckdb_file: str | None = None,
) -> str | None:
    """Return why tasks cannot work with what they share, and what to change; None if they can.

    :param executors: those that run tasks on other machines, see :func:`remote_executors`.
    :param folders: addresses by what they are, e.g. ``{"the workspace": "file:///data/extend"}``; those that
        are not on a disk are ignored.
    :param duckdb_file: the file that documents land in, if they do.
    """
    names = ", ".join(executors)
    if disk == "one_machine" or not names:
        return None
    on_disk = {what: place for what, place in (folders or {}).items() if place.startswith("file:")}
    wrong = [] if disk == "shared" else [f"{what} {place}" for what, place in on_disk.items()]
    file = [] if duckdb_file is None else [f"the DuckDB file {duckdb_file}"]
    if not (wrong or file):
        return None
    remedies = [_MOVE_FOLDERS] * bool(wrong) + [_MOVE_FILE] * bool(file) + [_ONE_MACHINE]
    return (
        f"{names} runs tasks on several machines, and a task sees its own machine's disk only, so they would "
        f"not find {' or '.join(wrong + file)}. Nothing was sent to Extend. {' '.join(remedies)}"
    )


_MOVE_FOLDERS: Final = (
    "Use an object store instead, such as s3://aws_default@bucket/extend. If all machines mount the same "
    'disk at this path, say so: Deployment(disk="shared").'
)
_MOVE_FILE: Final = (
    "Let documents land in a warehouse that serves several machines: Postgres, Snowflake and others, see "
    "docs/warehouses.md. DuckDB advises against writing to a network disk, so a shared one does not help."
)
_ONE_MACHINE: Final = 'If all tasks run on one machine all the same, say so: Deployment(disk="one_machine").'
