"""``dead-letters``: list documents that failed, or print the commands that send them again."""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from extend_pipeline.cli.options import add_parser, add_tables
from extend_pipeline.warehouse.open import open_warehouse
from extend_pipeline.warehouse.records import DeadLetter

EPILOG = """examples:
  python -m extend_pipeline dead-letters --warehouse-conn-id warehouse_default
  python -m extend_pipeline dead-letters --resend | sh

Dead letters are documents that were sent, failed or were cancelled, and are not sent again by themselves."""


def add_command(commands: Any) -> None:
    """Add the command to those of ``python -m extend_pipeline``."""
    parser = add_parser(
        commands,
        "dead-letters",
        run,
        summary="list what failed and is not sent again by itself, or print the commands that send it again",
        epilog=EPILOG,
    )
    add_tables(parser)
    parser.add_argument("--limit", type=int, default=50, help="rows to show (%(default)d)")
    parser.add_argument(
        "--resend", action="store_true", help="print the commands that send them again, one per workflow"
    )
    parser.add_argument("--dag-id", default="extend_on_demand", help="DAG that sends them (%(default)s)")


def run(options: argparse.Namespace) -> None:
    """List dead letters, or print the commands that send them again."""
    with open_warehouse(options.warehouse_conn_id, options.dataset) as warehouse:
        letters = warehouse.dead_letters(workflow_id=options.workflow_id, version=options.version)
        if options.resend:
            destination = {"warehouse_conn_id": options.warehouse_conn_id, "dataset": options.dataset}
            for command in resend_commands(letters, options.dag_id, destination):
                print(command)  # noqa: T201  # for a shell to read
        else:
            _show(letters, options.limit, Console())


def resend_commands(
    letters: Iterable[DeadLetter], dag_id: str, destination: Mapping[str, str]
) -> Iterator[str]:
    """Yield the commands that send these again: one per workflow and version.

    :param destination: the form's fields that name the tables in which the dead letters were found.
    """
    for workflow_id, version in dict.fromkeys((letter.workflow_id, letter.version) for letter in letters):
        conf = {"reprocess": "failed", "workflow_id": workflow_id, "version": version, **destination}
        yield shlex.join(["airflow", "dags", "trigger", dag_id, "--conf", json.dumps(conf)])


def _show(letters: Iterator[DeadLetter], limit: int, console: Console) -> None:
    shown = list(itertools.islice(letters, limit))
    counts = Counter((letter.status, letter.reason or "") for letter in itertools.chain(shown, letters))
    table = Table(title="Dead letters")
    for heading in ("document", "workflow", "version", "status", "reason", "attempts", "landed", "resending"):
        table.add_column(heading, overflow="fold")
    for letter in shown:
        table.add_row(
            letter.document.uri,
            letter.workflow_id,
            letter.version or "latest",
            letter.status,
            letter.reason or "",
            str(letter.attempts),
            f"{letter.landed_at:%Y-%m-%d %H:%M}",
            "yes" if letter.resending else "",
        )
    if shown:
        console.print(table, markup=False)
    if counts.total() > len(shown):
        console.print(f"The first {len(shown):,}; --limit shows more.")
    reasons = ", ".join(f"{count:,} {' '.join(kind).strip()}" for kind, count in counts.most_common())
    console.print(f"{counts.total():,} dead letters{': ' if reasons else ''}{reasons}.", markup=False)
