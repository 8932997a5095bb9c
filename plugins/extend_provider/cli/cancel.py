"""``airflow extend cancel``: finishes by hand what a killed task could not."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from airflow.cli.cli_config import ActionCommand, lazy_load_command

from extend_provider.cli.options import (
    conn_id_option,
    option,
    read_connections_of_the_database,
    refuse,
)

if TYPE_CHECKING:
    from extend_provider.batch.cancellation import Cancellation, RemoteWork

DESCRIPTION = """Cancels the runs of batches, or single runs, that have not settled.

  airflow extend cancel --batch-id batch_1 --batch-id batch_2 --conn-id extend_default
  airflow extend cancel --run-id workflow_run_1
  airflow extend cancel --workflow-id workflow_1 --metadata chunk=4f… --since 2026-11-22T02:00:00Z

The last one is for a batch whose id never arrived: it looks for runs of the workflow, since the submission
was begun, whose metadata has all of these (* for anything). The log of a task that was ended has the command.
Settled runs stay as they are, so it may be repeated. The exit code is 0 if nothing goes on at Extend, 1 if
something may, 2 if the command cannot be understood."""


def command() -> ActionCommand:
    """Return the command."""
    return ActionCommand(
        name="cancel",
        help="Cancel runs at Extend that have not settled",
        description=DESCRIPTION,
        func=lazy_load_command("extend_provider.cli.cancel.cancel"),
        args=(
            option("--batch-id", action="append", default=[], help="A batch; may be repeated"),
            option("--run-id", action="append", default=[], help="A single run; may be repeated"),
            option("--workflow-id", help="The workflow of a batch that must be found first"),
            option(
                "--metadata",
                action="append",
                default=[],
                type=_pair,
                help="KEY=VALUE of its runs; may be repeated",
            ),
            option("--since", type=_moment, help="When its submission was begun"),
            option(
                "--until", type=_moment, help="When it is listed at the latest (default: by the connection)"
            ),
            option("--runs", type=int, help="Find so many single runs instead of a batch"),
            conn_id_option(),
            option(
                "--timeout", type=float, help="Seconds for each (default: 300, and what it takes to find it)"
            ),
            option("--concurrency", type=int, help="Most requests at a time; by default what Extend bears"),
        ),
    )


def cancel(options: argparse.Namespace) -> None:
    """Cancel, print what became of each piece of work, and exit."""
    from rich.console import Console

    read_connections_of_the_database()
    if not options.batch_id and not options.run_id and not options.workflow_id:
        refuse("cancel", "give at least one --batch-id or --run-id, or --workflow-id")
    if options.workflow_id and not (options.metadata and options.since):
        refuse("cancel", "--workflow-id needs --metadata and --since")
    cancellations = asyncio.run(_cancel_all(list(_works(options)), options))
    console = Console()
    for each in cancellations:
        console.print(f"{each.work}: {each}", highlight=False, soft_wrap=True, markup=False)
    sys.exit(0 if all(each.complete for each in cancellations) else 1)


def _works(options: argparse.Namespace) -> Iterator[RemoteWork]:
    from extend_provider.batch.cancellation import RemoteWork
    from extend_provider.batch.orphans import IdempotencyKey, Orphan

    for batch_id in options.batch_id:
        yield RemoteWork(options.conn_id, batch_id=batch_id)
    if options.run_id:
        yield RemoteWork(options.conn_id, run_ids=tuple(options.run_id))
    if options.workflow_id:
        key = IdempotencyKey(dict(options.metadata))
        until = options.until or _listed_by(options.since, options.conn_id)
        orphan = Orphan(options.workflow_id, key, since=options.since, until=until, runs=options.runs)
        yield RemoteWork(options.conn_id, orphan=orphan)


def _listed_by(since: str, conn_id: str) -> str:
    """Return when a submission is listed at the latest, by what the connection says of requests and lists."""
    from extend_provider.hooks.extend import ExtendHook
    from extend_provider.security import describe_error

    try:
        settings = ExtendHook(extend_conn_id=conn_id).settings
    except Exception as error:  # noqa: BLE001  # Airflow's, of a connection that is not there, among them
        refuse("cancel", describe_error(error))
    seconds = settings.submission_window + settings.listing_grace
    return (dt.datetime.fromisoformat(since) + dt.timedelta(seconds=seconds)).isoformat()


async def _cancel_all(works: Sequence[RemoteWork], options: argparse.Namespace) -> list[Cancellation]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from extend_provider.batch import cancellation

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    cancellations = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for work in works:
            bar = progress.add_task(str(work.batch_id or ("Runs" if work.run_ids else "Batch")), total=None)

            def show(tally: Cancellation, bar: object = bar) -> None:
                progress.update(bar, total=tally.seen, completed=tally.cancelled + tally.settled)  # type: ignore[arg-type]  # a TaskID

            cancellations.append(
                await cancellation.cancel(
                    work, seconds=options.timeout, concurrency=options.concurrency, on_change=show
                )
            )
    return cancellations


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _moment(text: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 2026-11-22T02:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).isoformat()
