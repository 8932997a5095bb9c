"""Replay from a terminal: the tables once more, from the raw zone alone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from extend_pipeline.exceptions import PipelineInputError, PipelineOutcomeError
from extend_pipeline.planning.replay import (
    ReplaySettings,
    begin,
    end,
    forget,
    not_landed,
    parts_of,
    replay,
    whole_parts,
)
from extend_pipeline.storage.raw_index import Entry
from extend_pipeline.warehouse import open_warehouse, publish_snapshot

EPILOG = """examples:
  python -m extend_pipeline replay --dry-run                 say what there is, and what is left to land
  python -m extend_pipeline replay                           land what is missing: the dataset was dropped
  python -m extend_pipeline replay --again                   land everything: a table was dropped or changed
  python -m extend_pipeline replay --into-dataset rebuilt    beside the tables that are there
  python -m extend_pipeline replay --schema-contract evolve  also what the contract freeze has refused

Extend is asked nothing. What was interrupted goes on where it stopped when it is run again, without --again.
While it runs, tasks that need the warehouse wait."""


def add_command(commands: Any) -> None:
    """Add the command to those of ``python -m extend_pipeline``."""
    command = commands.add_parser(
        "replay",
        help="land what the raw zone has, without asking Extend",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument("--workspace", help="(the Variable extend_workspace)")
    command.add_argument("--dataset", default="extend", help="that the parts landed in (%(default)s)")
    command.add_argument(
        "--warehouse-conn-id", default="warehouse_default", help="that they landed through (%(default)s)"
    )
    command.add_argument("--into-dataset", help="where they land now, if not in the same dataset")
    command.add_argument("--into-warehouse-conn-id", help="the same of the connection")
    command.add_argument(
        "--again", action="store_true", help="land also what has landed; what is there is replaced"
    )
    command.add_argument(
        "--schema-contract",
        choices=("evolve", "freeze", "discard"),
        help="what becomes of fields that the tables do not have (as it was when the parts landed)",
    )
    command.add_argument("--dry-run", action="store_true", help="say what there is to do, and do nothing")


def run(options: argparse.Namespace) -> None:
    """Land the parts, with a progress bar.

    :raises PipelineOutcomeError: after all have landed, if the schema contract has refused some.
    """
    settings = ReplaySettings.from_rendered(
        {
            "workspace": options.workspace or the_workspace(),
            "dataset": options.dataset,
            "warehouse_conn_id": options.warehouse_conn_id,
            "into_dataset": options.into_dataset,
            "into_warehouse_conn_id": options.into_warehouse_conn_id,
            "again": options.again,
            "schema_contract": options.schema_contract,
        }
    )
    console = Console()
    entries = parts_of(settings)
    with open_warehouse(*settings.destination) as warehouse:
        if settings.again and not options.dry_run:
            begin(settings)
            forget(warehouse, entries)
        landed = set() if settings.again else whole_parts(warehouse)
        due = not_landed(entries, landed)
        _tell(console, "In the raw zone", entries)
        _tell(console, "To be landed", due)
        if options.dry_run:
            return
        begin(settings)
        with _progress() as progress:
            bar = progress.add_task("landing", total=len(due))
            total = replay(warehouse, due, settings, lambda entry, refused: progress.advance(bar))
    end(settings)
    publish_snapshot(*settings.destination)
    place = ".".join(reversed(settings.destination))
    console.print(
        f"{total.parts:,} parts with {total.documents:,} documents and {total.runs:,} runs have landed in "
        f"{place}; Extend was asked nothing.",
        markup=False,
        highlight=False,
    )
    if total.refused:
        raise PipelineOutcomeError(
            f"{total.refused:,} of these parts have fields that the tables have no place for, and the "
            "contract 'freeze' makes none: their values are in fields alone, and problems has a row "
            "SCHEMA_CONTRACT for each. Nothing is blocked by that. Replay with --schema-contract evolve, or "
            "discard, to land them in the tables."
        )


def the_workspace() -> str:
    """Return where the workspace is as the Variable says.

    :raises PipelineInputError: if there is no such Variable.
    """
    from airflow.sdk import Variable

    try:
        return str(Variable.get("extend_workspace"))
    except KeyError:
        raise PipelineInputError(
            "Say where the workspace is: --workspace, or the Variable extend_workspace."
        ) from None


def _tell(console: Console, what: str, entries: Sequence[Entry]) -> None:
    documents, runs, size = (
        sum(getattr(entry.part, name) for entry in entries) for name in ("documents", "runs", "size_bytes")
    )
    console.print(
        f"{what}: {len(entries):,} parts, {documents:,} documents, {runs:,} runs, {size / 1e6:,.1f} MB.",
        markup=False,
        highlight=False,
    )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("parts"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
