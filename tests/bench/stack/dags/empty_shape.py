"""The shape of ``documents_to_warehouse`` with tasks that do nothing: what is left is Airflow's own cost.

Its ``wait`` does not defer, and a task here imports nothing of the pipeline.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Param, TriggerRule, task, task_group

with DAG(
    "bench_empty",
    schedule=None,
    is_paused_upon_creation=False,
    default_args={"retries": 3, "retry_delay": dt.timedelta(minutes=1)},
    params={"chunks": Param(1, type="integer")},
):

    @task_group
    def documents_to_warehouse() -> None:
        """One group for everything, with a mapped group for the chunks in it."""

        @task
        def discover() -> str:
            return "folder"

        @task
        def plan(folder: Any, params: Any = None) -> list[int]:
            return list(range(params["chunks"]))

        @task(trigger_rule=TriggerRule.ALL_DONE)
        def finish(folder: Any) -> None:
            return None

        @task_group
        def chunk(number: Any) -> None:
            @task
            def submit(number: Any) -> Any:
                return number

            @task
            def wait(sent: Any) -> Any:
                return sent

            @task
            def collect(sent: Any) -> Any:
                return sent

            @task(pool="extend_warehouse")
            def load(collected: Any) -> Any:
                return collected

            sent = submit(number)
            collected = collect(sent)
            wait(sent) >> collected
            load(collected)

        folder = discover()
        chunk.expand(number=plan(folder)) >> finish(folder)

    documents_to_warehouse()
