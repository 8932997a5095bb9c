"""The local executor with a queue that tests can hold: what is in it stays queued, as where all is busy."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from airflow.executors.local_executor import LocalExecutor

#: In a lane's folder: the tasks, by the last part of their ids, that no worker takes up while it is there.
HELD = "held"
#: What most tasks import, imported once: a task's process is a fork, and half of its time went into these.
IMPORTED_BEFORE = (
    "airflow.providers.amazon.aws.hooks.s3",
    "duckdb",
    "extend_pipeline",
    "extend_pipeline.batches.collection",
    "extend_pipeline.sources",
    "extend_pipeline.dag.tasks",
    "extend_pipeline.warehouse.duckdb_file",
    "extend_provider.hooks.extend",
    "s3fs",
)


class HeldExecutor(LocalExecutor):
    """Takes up what is not held."""

    def start(self) -> None:
        """Start, with what its workers need."""
        for name in IMPORTED_BEFORE:
            importlib.import_module(name)
        super().start()

    def _get_workloads_to_schedule(self, open_slots: int) -> list[tuple[Any, Any]]:
        """Return what may begin; the one place that 3.3 and 3.4 both ask."""
        queued: list[tuple[Any, Any]] = super()._get_workloads_to_schedule(sys.maxsize)
        return [(key, workload) for key, workload in queued if not _is_held(workload)][: max(0, open_slots)]


def _is_held(workload: Any) -> bool:
    ti = getattr(workload, "ti", None)
    if ti is None:  # a callback, or the test of a connection
        return False
    lane = ti.dag_id.rpartition("_")[2]
    file = Path(os.environ["SANDBOX_STACK_HOME"]) / "lanes" / lane / HELD
    try:
        return ti.task_id.rpartition(".")[2] in file.read_text().split()
    except FileNotFoundError:
        return False
