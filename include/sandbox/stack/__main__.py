"""``python -m sandbox.stack up|run|down|status``: the local stack as a command.

Exit codes: 0 for success (``run``: the landed rows equal the truth), 1 for a failure, 2 for wrong arguments,
3 if no stack is running (``status``), 130 or 143 after an interruption.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape

from sandbox.airflow_settings import SettingsError
from sandbox.stack.client import AirflowApiError, AirflowClient
from sandbox.stack.home import Home
from sandbox.stack.nightly.job import DAG_ID, PARSE_SECONDS, next_day, run_first_night, run_nightly
from sandbox.stack.nightly.report import shown
from sandbox.stack.processes.interruption import obey_signals_in_pauses, pause
from sandbox.stack.processes.process import StackError
from sandbox.stack.samples import seed_documents, source_of
from sandbox.stack.supervisor import Stack

#: Seconds that ``down`` waits for a stack to stop before it kills it.
STOP_SECONDS = 60

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the command line and return the exit code."""
    arguments = _parser().parse_args()
    obey_signals_in_pauses()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except (StackError, SettingsError, AirflowApiError, TimeoutError, httpx.HTTPError) as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}")
        return 1


def run(arguments: argparse.Namespace) -> int:
    """Start the stack, run the nightly DAG over sample documents, print and check the landed rows, stop."""
    with _stack(arguments) as stack:
        passed = run_nightly(stack, console, documents=arguments.documents, random_seed=arguments.seed)
    return 0 if passed else 1


def up(arguments: argparse.Namespace) -> int:
    """Start the stack with sample documents in S3, land the last day's, and keep it running until Ctrl-C."""
    with _stack(arguments) as stack:
        last = next_day(stack.client.wait_for_dag(DAG_ID, timeout=PARSE_SECONDS))
        days = [last - dt.timedelta(days=ago) for ago in reversed(range(arguments.days))]
        bucket, prefix = source_of(stack.settings)
        console.print(f"source     s3://{bucket}/{prefix}, {days[0]} to {days[-1]}")
        console.print(f"Airflow    [bold]{stack.airflow_url}[/]")
        console.print(f"page       {stack.airflow_url}/plugin/extend  (*Extend* in the navigation)")
        console.print(f"login      {stack.login.username} / {stack.login.password}")
        console.print(f"Extend     {stack.extend_url}  (emulator)")
        console.print(f"S3         {stack.s3_url}")
        console.print(f"warehouse  {shown(stack.warehouse)}")
        console.print(f"logs       {shown(stack.home.logs)}")
        options = {"documents": arguments.documents, "random_seed": arguments.seed}
        if not arguments.empty and run_first_night(stack, console, **options):
            days.pop()
        # Only now, because a night looks into the folders of the days before it.
        seed_documents(stack.s3_url, stack.settings, days, arguments.documents, arguments.seed)
        console.print(f"Backfill the other days of {DAG_ID}, or trigger extend_on_demand.")
        console.print("Ctrl-C stops everything.")
        while True:
            for ended in stack.start_ended():
                console.print(f"{ended} ended by itself and was restarted; see {stack.component(ended).log}")
            pause(0.5)


def down(arguments: argparse.Namespace) -> int:
    """Stop the stack in the home, and kill processes that a killed stack left."""
    home = Home(arguments.home)
    if (owner := home.owner()) is None:
        killed = home.kill_strays(patience=0)
        console.print(
            f"no stack is running in {shown(home.path)}" + (f"; {killed} orphans killed" * bool(killed))
        )
        return 0
    os.kill(owner, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while home.is_taken() and time.monotonic() < deadline:
        pause(0.1)
    if home.is_taken():
        os.kill(owner, signal.SIGKILL)
    home.kill_strays()
    console.print(f"the stack in {shown(home.path)} is stopped")
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Print whether a stack is running in the home, its addresses, and the health of its components."""
    home = Home(arguments.home)
    owner, state = home.owner(), home.read_state()
    if owner is None:
        console.print(f"no stack is running in {shown(home.path)}")
        return 3
    if state is None:
        console.print(f"a stack is starting or stopping in {shown(home.path)} (pid {owner})")
        return 1
    with AirflowClient(state.airflow_url, state.username, state.password) as client:
        health = client.health()
    console.print(f"running since {state.started_at} (pid {owner}): {state.airflow_url}")
    console.print(f"login {state.username} / {state.password}; Extend {state.extend_url}; S3 {state.s3_url}")
    for part, condition in (health or {"airflow": "does not answer"}).items():
        console.print(f"  {part}: {condition}")
    return 0 if health and all(condition == "healthy" for condition in health.values()) else 1


def _stack(arguments: argparse.Namespace) -> Stack:
    began = time.monotonic()
    return Stack(
        arguments.home,
        executor=arguments.executor,
        ui_port=arguments.ui_port,
        webhooks=arguments.webhooks,
        on_step=lambda step: console.print(f"[dim]{time.monotonic() - began:5.1f} s[/]  {step}"),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.stack", description="A local Airflow with Extend's emulator and S3."
    )
    parser.add_argument(
        "--home", type=Path, default=Path(".sandbox"), help="folder of the stack (default: %(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="up | run | down | status")
    for function in (run, up, down, status):
        command = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        command.set_defaults(command=function)
        if function not in (run, up):
            continue
        command.add_argument("--ui-port", type=int, help="Airflow's port (default: 8080, or any free one)")
        command.add_argument(
            "--documents", type=int, default=120, help="documents per day (default: %(default)s)"
        )
        command.add_argument("--seed", type=int, default=7, help="random seed (default: %(default)s)")
        command.add_argument(
            "--executor",
            choices=("local", "celery"),
            default="local",
            help="where tasks run: here, or in two Celery workers that share no disk (default: %(default)s)",
        )
        command.add_argument(
            "--webhooks",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="deliver events to the receiver in Airflow, instead of being polled (default: %(default)s)",
        )
        if function is up:
            command.add_argument(
                "--days", type=int, default=3, help="days with documents (default: %(default)s)"
            )
            command.add_argument("--empty", action="store_true", help="start no run: nothing has landed yet")
    return parser


if __name__ == "__main__":
    sys.exit(main())
