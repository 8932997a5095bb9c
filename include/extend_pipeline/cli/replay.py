"""``replay``: rebuild tables from the raw zone, without requests to Extend."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from extend_pipeline.cli.options import add_parser, add_workspace, workspace_of
from extend_pipeline.exceptions import PipelineOutcomeError
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
from extend_pipeline.warehouse.open import open_warehouse, publish_snapshot

#: Options with the names that the settings have.
OPTIONS: Final = (
    *("dataset", "warehouse_conn_id", "into_dataset", "into_warehouse_conn_id"),
    *("again", "schema_contract"),
)
EPILOG = """examples:
  python -m extend_pipeline replay --dry-run                 print what there is, and what is left to land
  python -m extend_pipeline replay                           land what is missing: the dataset was dropped
  python -m extend_pipeline replay --again                   land everything: a table was dropped or changed
  python -m extend_pipeline replay --into-dataset rebuilt    beside the tables that are there
  python -m extend_pipeline replay --schema-contract evolve  also what the contract 'freeze' refused

Extend is asked nothing. Run an interrupted replay again, without --again, to continue where it stopped.
While it runs, tasks that need the warehouse wait."""


def add_command(commands: Any) -> None:
    """Add the command to those of ``python -m extend_pipeline``."""
    parser = add_parser(
        commands,
        "replay",
        run,
        summary="rebuild tables from the raw zone, without requests to Extend",
        epilog=EPILOG,
    )
    add_workspace(parser)
    parser.add_argument("--dataset", default="extend", help="in which the parts landed (%(default)s)")
    parser.add_argument(
        "--warehouse-conn-id", default="warehouse_default", help="through which they landed (%(default)s)"
    )
    parser.add_argument("--into-dataset", help="where they land now, if not in the same dataset")
    parser.add_argument("--into-warehouse-conn-id", help="through which they land now, if not the same")
    parser.add_argument(
        "--again", action="store_true", help="land also what has landed; existing rows are replaced"
    )
    parser.add_argument(
        "--schema-contract",
        choices=("evolve", "freeze", "discard"),
        help="what happens to fields that have no column (as it was when the parts landed)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what there is to do, and do nothing")


def run(options: argparse.Namespace) -> None:
    """Land the parts, with a progress bar.

    :raises PipelineOutcomeError: after all have landed, if the schema contract refused fields of some.
    """
    settings = ReplaySettings.from_rendered(
        {
            "workspace": workspace_of(options),
            **{name: getattr(options, name) for name in OPTIONS},
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
            f"{total.refused:,} of these parts have fields without a column, and the contract 'freeze' adds "
            "none: their values are only in the table fields, and problems has a row SCHEMA_CONTRACT for each"
            " of them. Nothing is blocked by that. Replay with --schema-contract evolve, or discard, to land "
            "them in the tables."
        )


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
