"""The pipeline as everybody calls it, with less patience, and with failpoints that the tests arm.

What no setting shortens, the pauses after a 429 of a submission, is shortened in the task's process.

A failpoint is a file ``<stack's home>/failpoints/<name>.json``; it strikes once, in the process of the task
that it names which comes to its line first: that process kills itself, without a last word.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from extend_pipeline import documents_to_warehouse

FAILPOINTS = Path(os.environ.get("SANDBOX_STACK_HOME", ".")) / "failpoints"


def arm_failpoints(context: Mapping[str, Any]) -> None:
    """Wrap the functions that failpoints name; done in the task's own process, right before its work."""
    submission = importlib.import_module("extend_provider.submission")
    vars(submission)["Backoff"] = functools.partial(submission.Backoff, maximum=1.0)
    for file in sorted(FAILPOINTS.glob("*.json")):
        failpoint = json.loads(file.read_text())
        if context["ti"].task_id.rpartition(".")[2] != failpoint["task"]:
            continue
        module, _, path = failpoint["function"].partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        setattr(owner, name, _deadly(getattr(owner, name), file, failpoint["when"], failpoint["skip"]))


def _deadly(function: Callable[..., Any], file: Path, when: str, skip: int) -> Callable[..., Any]:
    calls = 0

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        strikes = calls > skip
        if strikes and when == "before":
            _die_once(file)
        result = function(*args, **kwargs)
        if strikes and when == "after":
            _die_once(file)
        return result

    return wrapped


def _die_once(file: Path) -> None:
    try:
        file.rename(file.with_suffix(".struck"))
    except FileNotFoundError:
        return  # it has struck
    os.kill(os.getpid(), signal.SIGKILL)


IMPATIENT: dict[str, Any] = {
    "workspace": "{{ var.value.extend_workspace }}",
    "poke_interval": dt.timedelta(seconds=2),
    "expires_in": "{{ params.expires_in | default(1800) }}",
    "extend_conn_id": "extend_impatient",
    "aws_conn_id": "aws_faulty",
    "warehouse_conn_id": "warehouse_impatient",
}
DEFAULTS: dict[str, Any] = {
    "retries": 25,
    "retry_delay": dt.timedelta(seconds=1),
    "pre_execute": arm_failpoints,
}

with DAG(
    "faulty",
    schedule=None,
    is_paused_upon_creation=False,
    default_args=DEFAULTS,
    params={
        "source": Param(type="string"),
        "chunk_size": 1000,
        "expires_in": 1800,
        "reprocess": False,
    },
):
    documents_to_warehouse(
        source="{{ params.source }}",
        workflow_id="{{ var.value.extend_workflow_id }}",
        chunk_size="{{ params.chunk_size }}",
        reprocess="{{ params.reprocess }}",
        **IMPATIENT,
    )

with DAG(
    "faulty_nightly",
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    end_date=dt.datetime(2026, 10, 31, tzinfo=dt.UTC),  # it runs when it is asked to, by backfill
    catchup=False,
    is_paused_upon_creation=False,
    default_args=DEFAULTS,
):
    documents_to_warehouse(
        source="{{ var.value.extend_source }}/{{ data_interval_start | ds }}/",
        workflow_id="{{ var.value.extend_workflow_id }}",
        **IMPATIENT,
    )
