"""Finish by hand what a killed task could not: ``python -m extend_provider cancel --batch-id batch_…``."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from extend_provider.batch.cancellation import CANCEL_SECONDS, CONCURRENCY, Cancellation, RemoteWork, cancel
from extend_provider.batch.orphans import Mark, Sought
from extend_provider.security import describe_error
from extend_provider.terminal import log_to_stderr

EPILOG = """examples:
  python -m extend_provider cancel --batch-id batch_1 --batch-id batch_2 --conn-id extend_default
  python -m extend_provider cancel --run-id workflow_run_1
  python -m extend_provider cancel --workflow-id workflow_1 --metadata chunk=4f… --since 2026-11-22T02:00:00Z

The last one is for a batch whose id never arrived: it looks for runs of the workflow, since the submission
was begun, whose metadata has all of these (* for anything). A task that is ended says it in its log.
Settled runs stay as they are, so it may be repeated. The exit code is 0 if nothing goes on at Extend, 1 if
something may."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    if not options.batch_id and not options.run_id and not options.workflow_id:
        _parser().error("give at least one --batch-id or --run-id, or --workflow-id")
    if options.workflow_id and not (options.metadata and options.since):
        _parser().error("--workflow-id needs --metadata and --since")
    # Airflow reads connections from its database in a process that says that it is one of its own.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    works = [RemoteWork(options.conn_id, batch_id=batch_id) for batch_id in options.batch_id]
    if options.run_id:
        works.append(RemoteWork(options.conn_id, run_ids=tuple(options.run_id)))
    if options.workflow_id:
        mark = Mark(dict(options.metadata))
        until = options.until or _listed_by(options.since, options.conn_id)
        sought = Sought(options.workflow_id, mark, since=options.since, until=until, runs=options.runs)
        works.append(RemoteWork(options.conn_id, sought=sought))
    console = Console()
    outcomes = asyncio.run(_cancel_all(works, options))
    for outcome in outcomes:
        console.print(f"{outcome.work}: {outcome}", highlight=False, soft_wrap=True, markup=False)
    return 0 if all(outcome.complete for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m extend_provider", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    command = commands.add_parser(
        "cancel",
        help="cancel the runs of batches, or single runs, that have not settled",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--batch-id", action="append", default=[], help="a batch; may be repeated")
    command.add_argument("--run-id", action="append", default=[], help="a single run; may be repeated")
    command.add_argument("--workflow-id", help="of the batch that is looked for")
    command.add_argument(
        "--metadata", action="append", default=[], type=_pair, help="KEY=VALUE of its runs; may be repeated"
    )
    command.add_argument("--since", type=_moment, help="when its submission was begun")
    command.add_argument(
        "--until",
        type=_moment,
        help="when it is listed at the latest; until then it is waited for (by the connection)",
    )
    command.add_argument(
        "--runs", type=int, help="what is looked for is so many single runs (default: a batch)"
    )
    command.add_argument("--conn-id", default="extend_default", help="connection to Extend (%(default)s)")
    command.add_argument(
        "--timeout",
        type=float,
        help=f"seconds that a batch may take ({CANCEL_SECONDS:g}, and what it takes to look for it)",
    )
    command.add_argument(
        "--concurrency", type=int, default=CONCURRENCY, help="requests at a time (%(default)d)"
    )
    return parser


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


def _listed_by(since: str, conn_id: str) -> str:
    """Return when a submission is listed at the latest, by what the connection says of requests and lists."""
    from extend_provider.hooks.extend import ExtendHook

    try:
        settings = ExtendHook(extend_conn_id=conn_id).settings
    except Exception as error:  # noqa: BLE001  # Airflow's, of a connection that is not there, among them
        _parser().error(describe_error(error))
    seconds = settings.submission_window + settings.listing_grace
    return (dt.datetime.fromisoformat(since) + dt.timedelta(seconds=seconds)).isoformat()


async def _cancel_all(works: Sequence[RemoteWork], options: argparse.Namespace) -> list[Cancellation]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    outcomes = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for work in works:
            bar = progress.add_task(str(work.batch_id or ("Runs" if work.run_ids else "Batch")), total=None)

            def show(tally: Cancellation, bar: object = bar) -> None:
                progress.update(bar, total=tally.seen, completed=tally.cancelled + tally.settled)  # type: ignore[arg-type]  # a TaskID

            outcomes.append(
                await cancel(work, seconds=options.timeout, concurrency=options.concurrency, on_change=show)
            )
    return outcomes


if __name__ == "__main__":
    log_to_stderr()
    sys.exit(main())
