"""Progress of a run in the terminal: the number of settled documents, and the state of each stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sandbox.stack.client import AirflowClient, DagRun, TaskInstance

#: The task that waits for Extend, and the XCom with its progress.
WAITING_TASK = "wait"
PROGRESS_KEY = "progress"


@dataclasses.dataclass(slots=True)
class Stage:
    """Number of instances of one task, by outcome."""

    name: str
    ended: int = 0
    total: int = 0
    failed: int = 0

    def __str__(self) -> str:
        if self.failed:
            return f"{self.name} {self.failed} failed"
        if self.total == 1:
            return f"{self.name} ✓" if self.ended else f"{self.name} …"
        return f"{self.name} {self.ended}/{self.total}"


def stages(tasks: Iterable[TaskInstance]) -> list[Stage]:
    """Return the started stages in the order of their start; a stage is the last part of a task id."""
    found: dict[str, Stage] = {}
    for task in sorted(tasks, key=lambda task: (task.start_date is None, str(task.start_date))):
        if task.state is None:
            continue
        stage = found.setdefault(_stage_name(task), Stage(_stage_name(task)))
        stage.total += 1
        stage.ended += task.ended
        stage.failed += task.state == "failed"
    return list(found.values())


class RunProgress:
    """A progress bar for one run; a context manager. Without a terminal it prints a line per change.

    :param documents: number of documents that are sent to Extend.
    """

    def __init__(self, client: AirflowClient, console: Console, run: DagRun, *, documents: int) -> None:
        self._client = client
        self._console = console
        self._run = run
        self._documents = documents
        self._settled: dict[int, int] = {}
        self._printed = ""
        columns = (TextColumn("Documents settled"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("{task.description}"), console=console)
        self._task = self._bar.add_task("", total=documents)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.update()
        self._bar.stop()

    def update(self) -> None:
        """Read the progress from Airflow and show it."""
        tasks = self._client.tasks(self._run.dag_id, self._run.dag_run_id)
        for task in tasks:
            if _stage_name(task) == WAITING_TASK and task.state in ("deferred", "running", "success"):
                self._settled[task.map_index] = self._settled_of(task)
        settled = sum(self._settled.values())
        text = " · ".join(str(stage) for stage in stages(tasks))
        self._bar.update(self._task, completed=settled, description=text)
        line = f"{settled:,}/{self._documents:,} documents settled · {text}"
        if not self._console.is_terminal and line != self._printed:
            self._console.print(line)
            self._printed = line

    def _settled_of(self, task: TaskInstance) -> int:
        progress = self._client.xcom(
            task.dag_id, task.dag_run_id, task.task_id, key=PROGRESS_KEY, map_index=task.map_index
        )
        settled = progress.get("settled") if isinstance(progress, dict) else None
        return settled if isinstance(settled, int) else self._settled.get(task.map_index, 0)


def _stage_name(task: TaskInstance) -> str:
    return task.task_id.rpartition(".")[2]
