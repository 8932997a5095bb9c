"""The pipeline as everybody calls it, with less patience, and with failpoints that the tests arm.

What no setting shortens, the pauses after a 429 of a submission, is shortened in the task's process.

Each lane of the tests has DAGs of its own. A failpoint is a file ``failpoints/<name>.json`` in the lane's
folder; it strikes once, in the process of the task that it names which comes to its line first: that process
kills itself, without a last word.
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

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, get_parsing_context

from extend_pipeline import documents_to_warehouse
from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator

#: As many as tests/faults/lanes.py asks for.
LANES = 4
HOME = Path(os.environ.get("SANDBOX_STACK_HOME", ".")) / "lanes"


def arm_failpoints(context: Mapping[str, Any]) -> None:
    """Wrap the functions that failpoints name; done in the task's own process, right before its work."""
    submission = importlib.import_module("extend_provider.submission")
    vars(submission)["Backoff"] = functools.partial(submission.Backoff, maximum=1.0)
    lane = context["ti"].dag_id.rpartition("_")[2]
    for file in sorted((HOME / lane / "failpoints").glob("*.json")):
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


def impatient(lane: str) -> dict[str, Any]:
    """Return the pipeline's settings that are the same for all of a lane's DAGs."""
    return {
        "workflow_id": "{{ var.value.extend_workflow_id }}",
        "workspace": f"{{{{ var.value.extend_workspace_{lane} }}}}",
        "poke_interval": dt.timedelta(seconds=2),
        "expires_in": "{{ params.expires_in | default(1800) }}",
        "extend_conn_id": f"extend_{lane}",
        "aws_conn_id": f"aws_{lane}",
        "warehouse_conn_id": f"warehouse_{lane}",
        "pool": f"extend_{lane}",
        "warehouse_pool": f"extend_warehouse_{lane}",
    }


DEFAULTS: dict[str, Any] = {
    "retries": 25,
    "retry_delay": dt.timedelta(seconds=1),
    "pre_execute": arm_failpoints,
}
PARAMS: dict[str, Any] = {
    "source": Param(type="string"),
    "chunk_size": 1000,
    "expires_in": 1800,
    "reprocess": "none",
}


def text_of(place: str) -> dict[str, str]:
    """Return the metadata by which the runs of a task that sends a text are told apart."""
    return {"document_id": "{{ run_id }}/" + place}


def pipeline(lane: str) -> None:
    with DAG(
        f"faulty_{lane}",
        schedule=None,
        is_paused_upon_creation=False,
        default_args=DEFAULTS,
        params=PARAMS,
    ):
        documents_to_warehouse(
            source="{{ params.source }}",
            chunk_size="{{ params.chunk_size }}",
            reprocess="{{ params.reprocess }}",
            **impatient(lane),
        )


def nightly(lane: str) -> None:
    with DAG(
        f"faulty_nightly_{lane}",
        schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        end_date=dt.datetime(2026, 10, 31, tzinfo=dt.UTC),  # it runs when it is asked to, by backfill
        catchup=False,
        is_paused_upon_creation=False,
        default_args=DEFAULTS,
    ):
        documents_to_warehouse(
            source=f"{{{{ var.value.extend_source_{lane} }}}}/{{{{ data_interval_start | ds }}}}/",
            **impatient(lane),
        )


def operators(lane: str, how: str) -> None:
    with DAG(f"faulty_operators_{how}_{lane}", schedule=None, is_paused_upon_creation=False):
        send: dict[str, Any] = {
            "workflow_id": "workflow_invoices",
            "raw_texts": ["one"],
            "deferrable": how == "deferred",
            "poll_interval": 2,
            "extend_conn_id": f"extend_{lane}",
            "pool": f"extend_{lane}",
        }
        ExtendRunWorkflowOperator(task_id="plain", metadata=text_of("plain"), **send)
        ExtendRunWorkflowOperator.partial(task_id="mapped", **send).expand(
            metadata=[text_of("mapped/0"), text_of("mapped/1")]
        )


#: Who runs a task needs its lane alone.
wanted = get_parsing_context().dag_id
for name in (f"lane{number}" for number in range(1, LANES + 1)):
    if wanted is None or wanted.endswith(f"_{name}"):
        pipeline(name)
        nightly(name)
        operators(name, "deferred")
        operators(name, "running")
