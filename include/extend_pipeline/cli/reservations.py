"""``reservations``: list what is planned and has not landed, or release what nobody has begun to send."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from extend_pipeline.batches.ledger import WorkspaceLedger
from extend_pipeline.batches.reservations import Reservation, release
from extend_pipeline.cli.options import add_parser, add_tables, add_workspace, workspace_of
from extend_pipeline.storage.workspace import batch_folder
from extend_pipeline.warehouse.open import open_warehouse
from extend_pipeline.warehouse.records import Claim

EPILOG = """examples:
  python -m extend_pipeline reservations
  python -m extend_pipeline reservations --release --older-than 24

The next run over the documents of a chunk that was sent waits for its results, and does not send them again.
A chunk that was not sent belongs to its run while that is active, and is planned again by the next run
afterwards; releasing it frees its documents at once. A task that is about to send it then sends nothing."""


def add_command(commands: Any) -> None:
    """Add the command to those of ``python -m extend_pipeline``."""
    parser = add_parser(
        commands,
        "reservations",
        run,
        summary="list what is planned and has not landed, or release what nobody has begun to send",
        epilog=EPILOG,
    )
    add_workspace(parser)
    add_tables(parser)
    parser.add_argument(
        "--older-than", type=float, default=0.0, metavar="HOURS", help="only those that are as old"
    )
    parser.add_argument("--release", action="store_true", help="release those that nobody has begun to send")


def run(options: argparse.Namespace) -> None:
    """List the reservations, or release those that are not sent."""
    workspace, console = workspace_of(options), Console()
    with open_warehouse(options.warehouse_conn_id, options.dataset) as warehouse:
        before = dt.datetime.now(dt.UTC) - dt.timedelta(hours=options.older_than)
        every = warehouse.claims(workflow_id=options.workflow_id, version=options.version)
        claims = [claim for claim in every if claim.claimed_at <= before]
        if options.release:
            freed = list(_released(claims, workspace))
            warehouse.end_claims(claim.chunk for claim in freed)
            sent = [claim for claim in claims if claim not in freed]
            console.print(
                f"{_counted(freed)} released; {_counted(sent)} are sent and stay reserved until they land.",
                highlight=False,
            )
        else:
            console.print(_table(claims, workspace))
            console.print(f"{_counted(claims)} reserved.", highlight=False)


def _counted(claims: list[Claim]) -> str:
    return f"{sum(claim.documents for claim in claims):,} documents in {len(claims):,} chunks"


def _released(claims: list[Claim], workspace: str) -> Iterator[Claim]:
    for claim in track(claims, "Releasing", console=Console(stderr=True)):
        if release(_ledger(claim, workspace), "a later run (the chunk was released by hand)"):
            yield claim


def _ledger(claim: Claim, workspace: str) -> WorkspaceLedger:
    key = Reservation.of(claim).key
    return WorkspaceLedger(
        batch_folder(workspace, workflow_id=claim.workflow_id, version=claim.version, key=key)
    )


def _table(claims: list[Claim], workspace: str) -> Table:
    table = Table(title="Reservations")
    for heading in ("workflow", "version", "repetition", "documents", "state", "planned by", "age"):
        table.add_column(heading, overflow="fold")
    now = dt.datetime.now(dt.UTC)
    for claim in claims:
        planner = Reservation.of(claim).planner
        table.add_row(
            claim.workflow_id,
            claim.version or "latest",
            claim.repetition,
            f"{claim.documents:,}",
            _state(claim, workspace),
            planner.name if planner else "",
            str(dt.timedelta(seconds=round((now - claim.claimed_at).total_seconds()))),
        )
    return table


def _state(claim: Claim, workspace: str) -> str:
    standing, planner = _ledger(claim, workspace).standing(), Reservation.of(claim).planner
    if standing.begun:
        return "sent"
    if standing.void and planner and standing.void.plan != planner.plan:
        return "free"
    return "not sent"
