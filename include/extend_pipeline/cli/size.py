"""``size``: what so many documents need, how long they take, and which limit decides it."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from extend_pipeline.cli.options import add_parser
from extend_pipeline.cli.sizing import (
    BATCH,
    LANDING_SECONDS,
    SLOTS_PER_WORKER,
    TASK_MEGABYTES,
    USABLE_SHARE,
    Load,
    Size,
    size,
)

EPILOG = """examples:
  python -m extend_pipeline size --documents 10000000 --requests-per-second 75 --runs-per-minute 300 \\
    --seconds-per-run 60

Nothing is read and nothing is sent: it is arithmetic over measured figures, which docs/operations.md lists
("Sizing"). Seconds per run and credits per page are in your tables once some documents have landed."""


def add_command(commands: Any) -> None:
    """Add the command to those of ``python -m extend_pipeline``."""
    parser = add_parser(
        commands,
        "size",
        run,
        summary="compute batches, pool slots, triggerers, workers, days, storage and credits",
        epilog=EPILOG,
    )
    parser.add_argument("--documents", type=int, required=True, help="how many are to be processed")
    parser.add_argument(
        "--requests-per-second", type=float, required=True, help="limit of your plan at Extend"
    )
    parser.add_argument("--runs-per-minute", type=float, required=True, help="limit of your plan at Extend")
    parser.add_argument(
        "--seconds-per-run", type=float, required=True, help="that Extend works on a document, on average"
    )
    parser.add_argument(
        "--pages-per-document", type=float, default=1.0, help="on average, for the credits (%(default)g)"
    )
    parser.add_argument("--credits-per-page", type=float, help="what a page has cost before")
    parser.add_argument(
        "--webhooks", action="store_true", help="Extend delivers its events, results included"
    )
    parser.add_argument(
        "--poke-interval",
        type=float,
        default=Load.__dataclass_fields__["poke_interval"].default,
        help="seconds between two polls of a batch at the most (%(default)g)",
    )


def run(options: argparse.Namespace) -> None:
    """Print the table."""
    load = Load(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Load)})
    table = Table(title=f"{load.documents:,} documents, {'by webhooks' if load.webhooks else 'by polling'}")
    table.add_column("what")
    table.add_column("how much", justify="right")
    table.add_column("why", overflow="fold")
    for row in rows(load, size(load)):
        table.add_row(*row)
    Console().print(table, markup=False, highlight=False)


def rows(load: Load, needed: Size) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of the table: what, how much, and why."""
    requests = needed.requests
    yield "time", duration(needed.seconds), f"the limit is {needed.binding}"
    for name, seconds in needed.limits.items():
        yield f"  by {name} alone", duration(seconds), _reasons(load)[name]
    yield "batches", f"{needed.batches:,}", f"{BATCH:,} documents each; runs of the DAG: {needed.dag_runs:,}"
    yield "batches in flight", f"{needed.slots:,}", "slots of the pool extend: so many keep Extend busy"
    yield (
        "  seconds at Extend",
        f"{needed.batch_seconds:,.0f}",
        "of a batch, its queue included: Execution.expires_in has to be longer",
    )
    yield "triggerers", f"{needed.triggerers:,}", "and one more, so that one may restart"
    yield (
        "workers",
        f"{needed.workers:,}",
        f"and one more; of 2 cores, {SLOTS_PER_WORKER} slots, {SLOTS_PER_WORKER * TASK_MEGABYTES:,} MB. "
        f"Busy slots: {needed.worker_slots:,}",
    )
    yield (
        "requests",
        f"{requests.submit + requests.reads:,}",
        f"{requests.reads / needed.seconds:,.1f} reads/s",
    )
    yield "  submit", f"{requests.submit:,}", "one for each batch"
    lists = requests.list_runs // needed.batches
    yield "  list runs", f"{requests.list_runs:,}", f"{lists:,} for each batch"
    yield (
        "  get run",
        f"{requests.get_run:,}",
        "results come by webhook" if load.webhooks else "one for each document; none with --webhooks",
    )
    yield "raw zone", amount(needed.raw_bytes), "compressed, in the workspace"
    yield "tables", amount(needed.table_bytes), "in DuckDB; other warehouses differ"
    yield (
        "credits",
        "unknown" if needed.credits is None else f"{needed.credits:,.0f}",
        "give --credits-per-page" if needed.credits is None else f"{load.pages_per_document:g} pages each",
    )


def _reasons(load: Load) -> dict[str, str]:
    return {
        "runs per minute": f"{load.runs_per_minute:g} of your plan",
        "requests per second": f"{USABLE_SHARE:.0%} of {load.requests_per_second:g}, reads and writes apart",
        "landing": f"one batch after another, {LANDING_SECONDS:g} s each",
    }


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    for unit, length in (("days", dt.timedelta(days=1)), ("hours", dt.timedelta(hours=1))):
        if seconds >= 2 * length.total_seconds():
            return f"{seconds / length.total_seconds():,.1f} {unit}"
    return f"{seconds / 60:,.1f} minutes"


def amount(size_bytes: float) -> str:
    """Return a number of bytes in the decimal unit that suits it."""
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= length:
            return f"{size_bytes / length:,.1f} {unit}"
    return f"{size_bytes / 1e3:,.1f} kB"
