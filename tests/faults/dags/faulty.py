"""The pipeline as everybody calls it, with less patience, and with failpoints that the tests arm.

What no setting shortens, the pauses after a 429 of a submission, is shortened in the task's process.

Each lane of the tests has DAGs of its own. A failpoint is a file ``failpoints/<name>.json`` in the lane's
folder; it strikes once, in the process of the task that it names which comes to its line first: that process
kills itself, without a last word, or cannot write more than so many bytes to any file from there on.
"""

from __future__ import annotations

import datetime as dt
import functools
import importlib
import json
import os
import resource
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, get_parsing_context

from extend_pipeline import S3, Budget, Deployment, Execution, Warehouse, documents_to_warehouse
from extend_provider.operators.run_workflow import ExtendRunWorkflowOperator
from extend_provider.operators.submit_batch import ExtendSubmitBatchOperator
from extend_provider.sensors.batch import ExtendBatchSensor

#: One for each process of pytest-xdist, and the one whose tasks wait in a queue that tests hold.
LANES = ("lane1", "lane2", "lane3", "lane4", "held")
HOME = Path(os.environ.get("SANDBOX_STACK_HOME", ".")) / "lanes"


def arm_failpoints(context: Mapping[str, Any]) -> None:
    """Wrap the functions that failpoints name; done in the task's own process, right before its work."""
    submission = importlib.import_module("extend_provider.batch.submission")
    vars(submission)["Backoff"] = functools.partial(submission.Backoff, maximum=1.0)
    lane = context["ti"].dag_id.rpartition("_")[2]
    for file in sorted((HOME / lane / "failpoints").glob("*.json")):
        failpoint = json.loads(file.read_text())
        if context["ti"].task_id.rpartition(".")[2] != failpoint["task"]:
            continue
        module, _, path = failpoint["function"].partition(":")
        *owners, name = path.split(".")
        owner = functools.reduce(getattr, owners, importlib.import_module(module))
        setattr(owner, name, _struck(getattr(owner, name), file, failpoint))


def _struck(function: Callable[..., Any], file: Path, failpoint: Mapping[str, Any]) -> Callable[..., Any]:
    calls, when, skip, room = 0, failpoint["when"], failpoint["skip"], failpoint["room"]

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        strikes = calls > skip
        if strikes and when == "before":
            _strike_once(file, room)
        result = function(*args, **kwargs)
        if strikes and when == "after":
            _strike_once(file, room)
        return result

    return wrapped


def _strike_once(file: Path, room: int | None) -> None:
    try:
        file.rename(file.with_suffix(".struck"))
    except FileNotFoundError:
        return  # it has struck
    if room is None:
        os.kill(os.getpid(), signal.SIGKILL)
    else:  # what a full disk does, in the middle of a write; for this process alone
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


def impatient(lane: str) -> dict[str, Any]:
    """Return what the pipelines of a lane have in common."""
    return {
        "deployment": Deployment(
            f"{{{{ var.value.extend_workspace_{lane} }}}}",
            extend_conn_id=f"extend_{lane}",
            warehouse=Warehouse(f"warehouse_{lane}", pool=f"extend_warehouse_{lane}"),
            pool=f"extend_{lane}",
        ),
        "workflow": "{{ var.value.extend_workflow_id }}",
        "execution": Execution(
            chunk_size="{{ params.chunk_size | default(1000) }}",
            expires_in="{{ params.expires_in | default(1800) }}",
            poke_interval=dt.timedelta(seconds=2),
        ),
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
    "limit": Param(default=None, type=["null", "integer"]),
}


def executor_of(lane: str) -> dict[str, Any]:
    """Return what has tasks run in the executor whose queue is held; others run in Airflow's own."""
    return {"executor": "held_executor.HeldExecutor"} if lane == "held" else {}


def text_of(place: str) -> dict[str, str]:
    """Return the metadata by which the runs of a task that sends a text are told apart."""
    return {"document_id": "{{ run_id }}/" + place}


def pipeline(lane: str) -> None:
    with DAG(
        f"faulty_{lane}",
        schedule=None,
        is_paused_upon_creation=False,
        default_args=DEFAULTS | executor_of(lane),
        params=PARAMS,
    ):
        documents_to_warehouse(
            source=S3("{{ params.source }}", conn_id=f"aws_{lane}"),
            budget=Budget(limit="{{ params.limit or '' }}"),
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
        default_args=DEFAULTS | executor_of(lane),
    ):
        documents_to_warehouse(
            source=S3(
                f"{{{{ var.value.extend_source_{lane} }}}}/{{{{ data_interval_start | ds }}}}/",
                conn_id=f"aws_{lane}",
            ),
            **impatient(lane),
        )


def operators(lane: str, how: str) -> None:
    with DAG(
        f"faulty_operators_{how}_{lane}",
        schedule=None,
        is_paused_upon_creation=False,
        default_args=executor_of(lane),
    ):
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


def batches(lane: str, how: str) -> None:
    with DAG(
        f"faulty_batches_{how}_{lane}",
        schedule=None,
        is_paused_upon_creation=False,
        default_args=executor_of(lane),
    ):
        at_extend: dict[str, Any] = {"extend_conn_id": f"extend_{lane}", "pool": f"extend_{lane}"}
        send: dict[str, Any] = {"workflow_id": "workflow_invoices", "deferrable": True, **at_extend}
        wait: dict[str, Any] = {
            "run_count": 1,
            "deferrable": how == "deferred",
            "poke_interval": 2,
            **at_extend,
        }

        def inputs(place: str) -> list[dict[str, Any]]:
            return [{"file": {"text": "one"}, "metadata": text_of(place)}]

        plain = ExtendSubmitBatchOperator(task_id="submit", inputs=inputs("plain"), **send)
        ExtendBatchSensor(task_id="wait", batch_id=plain.output, **wait)
        mapped = ExtendSubmitBatchOperator.partial(task_id="submit_mapped", **send).expand(
            inputs=[inputs("mapped/0"), inputs("mapped/1")]
        )
        ExtendBatchSensor.partial(task_id="wait_mapped", **wait).expand(batch_id=mapped.output)


#: Who runs a task needs its lane alone.
wanted = get_parsing_context().dag_id
for name in LANES:
    if wanted is None or wanted.endswith(f"_{name}"):
        pipeline(name)
        nightly(name)
        for how in ("deferred", "running"):
            operators(name, how)
            batches(name, how)
