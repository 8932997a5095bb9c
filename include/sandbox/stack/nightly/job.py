"""One nightly run from end to end: documents to S3, the scheduled run, a check of the landed rows."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape

from sandbox.documents import Truth, expected_result
from sandbox.stack.client import AirflowApiError, Dag, DagRun
from sandbox.stack.nightly import report
from sandbox.stack.nightly.landed import LandedWarehouse
from sandbox.stack.nightly.progress import RunProgress
from sandbox.stack.nightly.verify import Difference, differences
from sandbox.stack.processes.interruption import pause
from sandbox.stack.processes.process import StackError
from sandbox.stack.samples import seed_documents, source_of
from sandbox.stack.supervisor import Stack

DAG_ID = "extend_nightly"
WORKFLOW_VARIABLE = "extend_workflow_id"

#: Why no sample document is sent.
SAMPLES_STAY = (
    "In airflow_settings.yaml, extend_default or aws_default leads outside of the sandbox. "
    "Sample documents are not sent there."
)
#: Time limits in seconds: for parsing the DAG, for the start of its run after unpausing, and for the run.
PARSE_SECONDS = 60
SCHEDULE_SECONDS = 60
RUN_SECONDS = 900


def run_nightly(stack: Stack, console: Console, *, documents: int, random_seed: int) -> bool:
    """Run the nightly DAG once over newly uploaded documents, and print a report.

    :param stack: a running stack that has not run the DAG yet.
    :param documents: number of documents of the day.
    :return: True if the run succeeded and all landed rows equal the truth.
    :raises StackError: the connections do not lead to this stack's emulators, or Airflow started no run.
    """
    require_stand_ins(stack)
    dag = stack.client.wait_for_dag(DAG_ID, timeout=PARSE_SECONDS)
    day = next_day(dag)
    truths = seed_documents(stack.s3_url, stack.settings, [day], documents, random_seed)
    bucket, prefix = source_of(stack.settings)
    console.print(f"{len(truths):,} documents are in s3://{bucket}/{prefix}{day}/")
    stack.client.set_paused(DAG_ID, False)
    run = _scheduled_run(stack, day)
    sent = sum(truth.status != "SKIPPED" for truth in truths)
    with RunProgress(stack.client, console, run, documents=sent) as progress:

        def on_poll(_: DagRun) -> None:
            stack.check_alive()
            progress.update()

        run = stack.client.wait_for_run(DAG_ID, run.dag_run_id, timeout=RUN_SECONDS, on_poll=on_poll)
    console.print(f"{DAG_ID} {run.dag_run_id}: {run.state}{_duration(run)}\n")
    if run.state != "success":
        console.print(stack.client.failed_logs(DAG_ID, run.dag_run_id), markup=False)
    return _report(stack, console, truths, f"{prefix}{day}/") and run.state == "success"


def run_first_night(stack: Stack, console: Console, *, documents: int, random_seed: int) -> bool:
    """Run the nightly DAG once, so that a stack that stays open has data.

    Where the connections lead to a real service, nothing is run. A night that fails is told, and leaves the
    stack open to be looked at.

    :param stack: a running stack that has not run the DAG yet.
    :return: whether it was tried.
    """
    if not leads_to_stand_ins(stack):
        console.print(f"{SAMPLES_STAY} No run was started.")
        return False
    try:
        passed = run_nightly(stack, console, documents=documents, random_seed=random_seed)
    except (StackError, AirflowApiError, TimeoutError, httpx.HTTPError) as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}")
        passed = False
    if not passed:
        console.print(
            f"The first night of {DAG_ID} failed. The stack stays open: look at the run in Airflow, and at "
            f"the logs in {report.shown(stack.home.logs)}"
        )
    return True


def leads_to_stand_ins(stack: Stack) -> bool:
    """Return whether the connections lead to the stack's own Extend and S3, where nothing costs money."""
    extend = stack.settings.connection("extend_default") or {}
    aws = stack.settings.connection("aws_default") or {}
    return extend.get("host") == stack.extend_url and f'"{stack.s3_url}"' in (aws.get("extra") or "")


def require_stand_ins(stack: Stack) -> None:
    """Check that the connections lead to the stack's own Extend and S3.

    :raises StackError: they lead elsewhere, where sample documents would cost money.
    """
    if not leads_to_stand_ins(stack):
        raise StackError(
            f"{SAMPLES_STAY} `python -m sandbox.stack up` starts Airflow with these connections."
        )


def next_day(dag: Dag) -> dt.date:
    """Return the day whose documents the next scheduled run processes.

    :raises StackError: the DAG has no schedule.
    """
    if dag.next_dagrun_data_interval_start is None:
        raise StackError(f"{dag.dag_id} has no next scheduled run; it needs a schedule by data interval")
    return dag.next_dagrun_data_interval_start.astimezone(dt.UTC).date()


def _scheduled_run(stack: Stack, day: dt.date) -> DagRun:
    deadline = time.monotonic() + SCHEDULE_SECONDS
    while not (runs := stack.client.runs(DAG_ID, run_type="scheduled")):
        if time.monotonic() > deadline:
            raise StackError(f"Airflow started no run of {DAG_ID} in {SCHEDULE_SECONDS} s")
        stack.check_alive()
        pause(0.5)
    start = runs[0].data_interval_start
    if start is None or start.astimezone(dt.UTC).date() != day:
        raise StackError(f"{DAG_ID} was started for {start}, not for {day}: a new day began; run it again")
    return runs[0]


def _report(stack: Stack, console: Console, truths: Sequence[Truth], prefix: str) -> bool:
    workflow_id = stack.settings.variable(WORKFLOW_VARIABLE) or ""
    expected = [expected_result(truth, workflow_id) for truth in truths]
    if isinstance(stack.warehouse, Path) and not stack.warehouse.exists():
        console.print("[bold red]Nothing landed: there is no warehouse file.[/]")
        return False
    with LandedWarehouse(stack.warehouse) as warehouse:
        report.print_warehouse(console, warehouse)
        found: list[Difference] = list(differences(expected, warehouse.documents(workflow_id, prefix)))
    stats = httpx.get(f"{stack.extend_url}/_sandbox/stats", timeout=30, trust_env=False).json()
    report.print_requests(console, stats)
    report.print_results(console, stats)
    report.print_verdict(console, len(expected), found)
    report.print_how_to_open(console, stack.warehouse)
    return not found


def _duration(run: DagRun) -> str:
    if run.start_date is None or run.end_date is None:
        return ""
    return f" after {(run.end_date - run.start_date).total_seconds():.0f} s"
